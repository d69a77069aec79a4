"""Image → members: one file for each format."""
