"""From sources into place: who fetches which bytes, and how."""
