"""Messages on standard error: notes, results, errors. The other consoles add progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import in_one_line
from ...progress import Progress, Transfer
from ...units import in_bytes
from .outbox import Outbox
from .spelling import as_typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...archive.read.verify import Report
    from ...errors import DockersaveError
    from ...saving.save import Saved


def as_text(line: str, *more: str) -> str:
    """A line, with related lines indented below, whatever is in them."""
    lines = [f"dockersave: {line}", *(f"  {each}" for each in more if each)]
    return "".join(f"{in_one_line(each)}\n" for each in lines)


class Console(Progress):
    """Prints messages, without progress.

    Nothing here ever fails or waits for a reader: a missing reader must not abort or delay a
    download. Only `flush` waits.

    Args:
        quiet: print only errors.
        verbose: report finished layers.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._awaited: list[Transfer] = []
        self.outbox = Outbox()

    def start(self, transfers: Sequence[Transfer]) -> None:
        """Watch these transfers."""
        self._awaited = list(transfers) if self._verbose else []

    def tick(self) -> None:
        """Report those that are done."""
        for transfer in [transfer for transfer in self._awaited if transfer.done]:
            self._awaited.remove(transfer)
            reused = f", {in_bytes(transfer.reused)} reused" if transfer.reused else ""
            self.note(f"{transfer.digest}: {in_bytes(transfer.size)}{reused}")

    def note(self, line: str) -> None:
        """Print a note."""
        if not self._quiet:
            self.say(line)

    def saved(self, saved: Saved) -> None:
        """Report what was saved."""
        for image in saved.images:
            platforms = ", ".join(map(str, image.platforms))
            signers = _signed_with(image.signers)
            self.note(f"{image.reference}: {image.digest} for {platforms}{signers}")
        size = in_bytes(saved.size)
        state = f"unchanged, {size}" if saved.unchanged else size
        if saved.reused and len(saved.paths) == 1 and not saved.unchanged:
            state += f", {in_bytes(saved.reused)} of it reused"
        for path in saved.paths:
            self.note(f"{path}: {state}")

    def checked(self, report: Report) -> None:
        """Report the content of an archive and its faults."""
        for image in report.images:
            names = ", ".join(image.names) or "an image without a name"
            platform = f" for {image.platform}" if image.platform else ""
            self.note(f"{names}: {image.digest}{platform}{_signed_with(image.signers)}")
        # A single fault is in the error that follows.
        wrong = report.faults or report.unsigned
        faults = wrong if len(wrong) > 1 else ()
        for line in (*report.notes, *map(str, faults)):
            self.note(line)
        if report.is_right:
            kind = " and ".join(report.formats) + f", {report.compression}" * bool(
                report.compression
            )
            self.note(f"{report.path}: nothing is wrong ({kind}, {in_bytes(report.size)})")

    def failed(self, failure: DockersaveError) -> None:
        """Report an error, with its hint."""
        # Ctrl-C is not an error.
        word = "" if failure.exit_code > 128 else "error: "
        if several := failure.failures:
            self.say(
                f"error: {len(several)} images failed",
                *(as_typed(each.marked) for each in several),
                as_typed(failure.marked_hint),
            )
        else:
            self.say(f"{word}{as_typed(failure.marked)}", as_typed(failure.marked_hint))

    def say(self, line: str, *more: str) -> None:
        """Write a line, with related lines below."""
        self.write(as_text(line, *more))

    def write(self, text: str) -> None:
        """Queue text to be written to standard error, in order."""
        self.outbox.say(text)

    def flush(self, *limit: float) -> None:
        """Wait until everything is written, or nobody reads it.

        Args:
            limit: seconds to wait; by default as long as at the end of a run.
        """
        self.outbox.flush(*limit)


def _signed_with(signers: Sequence[str]) -> str:
    return f", signed with {' and '.join(signers)}" * bool(signers)
