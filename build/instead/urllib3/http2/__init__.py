"""One function that nobody calls, and 10 ms to import."""
