"""Checking an archive that is bytes, and what the report says."""

from __future__ import annotations

from pathlib import Path

from dockersave.archive.read.verify import Report, check_archive


def check(data: bytes, folder: Path) -> Report:
    """Check bytes."""
    path = folder / "archive.tar"
    path.write_bytes(data)
    return check_archive(path)


def faults(report: Report) -> list[str]:
    """Return what is wrong, in words that are fit to be printed."""
    lines = [str(fault) for fault in report.faults]
    assert all(line.isprintable() for line in lines)
    assert report.is_right == (not lines)
    return lines
