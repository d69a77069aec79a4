"""A save and its steps: `save` has the whole algorithm on one page."""
