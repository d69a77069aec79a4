"""Output while a command runs: bars, lines or JSON."""
