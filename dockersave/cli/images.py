"""The images of a command line: words, and lines of the lists that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import UsageError, shown
from ..files import check_is_no_archive
from ..limits import LIMITS
from ..model.reference import Reference

_HINT = "@FILE is a text file with one image per line"


def references_in(words: Iterable[str], *, are_archived: bool = False) -> list[Reference]:
    """The images that are named, in their order.

    Args:
        words: references, and `@FILE` for the references in a list.
        are_archived: whether they are names in an archive: one may look like an address.

    Raises:
        UsageError: a list cannot be read, or a reference cannot be parsed; which line it is in.
    """
    found: list[Reference] = []
    parse = Reference.parse if are_archived else Reference.of
    for text, place in _texts(words):
        if len(found) == LIMITS.references:
            raise UsageError(
                f"more than {LIMITS.references} images were given", "save them in several archives"
            )
        try:
            check_is_no_archive(text)
            found.append(parse(text))
        except UsageError as failure:
            raise failure.about(place) from None
    return found


def _texts(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """References as they are written; those in lists each with its place."""
    for word in words:
        if not word.startswith("@"):
            yield word, ""
            continue
        path = word[1:]
        for number, line in enumerate(_list(path, LIMITS.manifest).splitlines(), 1):
            if text := line.partition("#")[0].strip():
                yield text, f"{shown(path)}, line {number}"


def _list(path: str, most: int) -> str:
    """The text of a list of images, up to a size in bytes."""
    if not path:
        raise UsageError("@ must be followed by the name of a list of images", _HINT)
    name = f"the list {shown(path)}"
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as failure:
        reason = failure.strerror or type(failure).__name__
        raise UsageError(f"{name} cannot be read: {reason}", _HINT) from failure
    if len(data) > most:
        raise UsageError(f"{name} is too large: more than {most} bytes", _HINT)
    try:
        # Editors on Windows put a byte order mark first.
        return data.decode("utf-8-sig")
    except ValueError:
        raise UsageError(f"{name} is not UTF-8 text", _HINT) from None
