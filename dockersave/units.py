"""Sizes and durations for people."""

from __future__ import annotations


def in_bytes(amount: float) -> str:
    """A size for people: `48.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def counted(count: int, noun: str) -> str:
    """A number of things: `1 file`, `3 files`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def in_time(seconds: float) -> str:
    """A duration for a progress line: `0:04`, `1:02:03`, `3 days`."""
    whole = int(seconds + 0.5)
    if whole >= 2 * 86400:
        return f"{whole // 86400} days"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_words(seconds: float) -> str:
    """A duration for a sentence: `0.4 s`, `12 s`, `3 min`, `5 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def percent(present: int, size: int) -> int:
    """The share in percent, rounded down: only everything is 100."""
    return 100 * present // size if size else 100
