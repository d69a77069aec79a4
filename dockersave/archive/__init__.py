"""The only code that knows formats, and the only code that writes the output."""
