"""Turn references into images, and answer every other question to a registry."""
