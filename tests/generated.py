"""Generated parts of documents, each between two marks."""

from __future__ import annotations

from pathlib import Path

_END = "<!-- so far -->\n"


def write_between(mark: str, text: str, path: Path) -> None:
    """Replace what stands in a document between a mark and the next `so far`.

    Parameters:
        mark: what the comment says that begins the part.
        text: what is to stand there.
        path: of the document; one that has no such part, or is not there, becomes the text.
    """
    document = path.read_text() if path.exists() else ""
    before, start, rest = document.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(_END)
    path.write_text(f"{before}{start}{text}{end}{after}" if start and end else text)


def between(mark: str, path: Path) -> str:
    """Return what stands in a document between a mark and the next `so far`.

    Parameters:
        mark: what the comment says that begins the part.
        path: of the document.
    """
    return path.read_text().partition(f"<!-- {mark} -->\n")[2].partition(_END)[0]
