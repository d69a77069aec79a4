"""The only code that knows archive formats, and that writes the output."""
