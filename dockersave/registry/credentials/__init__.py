"""Whose credentials are sent, and where to: challenges, logins, tokens."""
