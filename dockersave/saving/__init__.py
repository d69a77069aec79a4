"""A save, and its steps: `save` is the whole of it on one page."""
