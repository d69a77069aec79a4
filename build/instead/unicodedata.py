"""urllib.parse asks what a host's name that is not in ASCII would be with other letters; here, no such name is taken."""


def normalize(form, text):
    """Raises ValueError, which urllib.parse lets through."""
    raise ValueError(f"{text!r} is not in ASCII")
