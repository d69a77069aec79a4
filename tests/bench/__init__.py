"""Benchmarks: dockersave compared with its peers and with the theoretical minimum."""
