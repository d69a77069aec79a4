"""The only reader of untrusted archives, and what uses its results."""
