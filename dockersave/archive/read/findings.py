"""What is wrong with an archive, and what is worth knowing about it; both bounded, each once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import ContentError, shown
from ...spelling import as_python
from ...values import dataclass, field
from .headers import NO_TAR

NO_IMAGES = "it is not an archive of images: it has neither index.json nor manifest.json"
NO_ARCHIVE = {
    NO_IMAGES: "is it a file system? only archives of images can be read",
    NO_TAR: "is it the right file? only archives of images can be read",
}
"""What is no archive of images, rather than a damaged one: hints by messages."""
_FAULTS_MOST = 100
_LINE_MOST = 1000
"""The longest fault or note: enough for two digests and the names of two members."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in an archive.

    Args:
        member: the faulty or missing member; empty for the archive as a whole.
        message: what is wrong with it.
        advice: what to do about it, arguments marked as in errors; empty for what usually helps.
    """

    member: str
    message: str
    advice: str = field(default="", repr=False)

    @property
    def hint(self) -> str:
        """What to do about it; empty for what usually helps."""
        return as_python(self.advice)

    def __str__(self) -> str:
        return f"{self.member}: {self.message}" if self.member else self.message


class Findings:
    """The faults of an archive, and the notes about it, in the order in which they were found."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.notes: list[str] = []

    def _fault(self, member: str, message: str) -> None:
        fault = Fault(shown(member), shown(message, _LINE_MOST))
        if len(self.faults) < _FAULTS_MOST and fault not in self.faults:
            self.faults.append(fault)

    def _note(self, line: str) -> None:
        line = shown(line, _LINE_MOST)
        if len(self.notes) < _FAULTS_MOST and line not in self.notes:
            self.notes.append(line)

    @contextmanager
    def _blaming(self, member: str) -> Iterator[None]:
        """While inside, an error about content is a fault of this member."""
        try:
            yield
        except ContentError as failure:
            self._fault(member, failure.message)
