"""The one reader of archives that nobody vouches for, and what is made of what it finds."""
