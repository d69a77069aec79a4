"""Reference → image, and every other question to a registry."""
