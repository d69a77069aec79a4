"""urllib3 guesses by file names what it sends in forms; nothing is sent in forms here."""
