"""Layers merged into one file system, by headers alone: compared with a model and with umoci."""
