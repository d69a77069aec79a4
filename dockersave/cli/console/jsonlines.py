"""Progress for programs: one JSON object per line.

A slow reader is not waited for: only the newest `progress` event is kept for it, and of other
events the oldest are dropped if there are too many (`LIMITS.unread`).

Every object has `event`; readers should ignore unknown events and keys. Sizes
are in bytes, times in seconds.

    {"event": "phase", "name": "resolving"}
    {"event": "start", "size": …, "present": …, "reused": …, "layers": …, "layers_done": …}
    {"event": "progress", "size": …, "present": …, "reused": …, "layers": …, "layers_done": …,
     "rate": …, "seconds_left": … or null}
    {"event": "layer", "digest": …, "size": …, "reused": …}
    {"event": "note", "message": …}
    {"event": "saved",
     "images": [{"reference": …, "digest": …, "platform": …, "platforms": […], "signers": […]}],
     "paths": […], "size": …, "fetched": …, "reused": …, "unchanged": …}
    {"event": "checked", "path": …, "formats": […], "compression": …,
     "images": [{"names": […], "digest": …, "platform": …, "signers": […]}], "files": …, "size": …,
     "faults": [{"member": …, "message": …, "hint": …}], "notes": […],
     "unsigned": [{"member": …, "message": …, "hint": …}]}
    {"event": "error", "message": …, "hint": …, "exit_code": …, "failures": […]}
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ...progress import Transfer
from ...values import asdict
from .console import Console
from .spelling import as_typed
from .tally import Tally

if TYPE_CHECKING:
    from ...archive.read.verify import Report
    from ...errors import DockersaveError
    from ...saving.save import Saved

_PAUSE = 0.5


class JsonLines(Console):
    """Writes an object for each event, and the state twice a second.

    Args:
        quiet: write only errors.
        clock: seconds from a fixed moment.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(quiet=quiet)
        self._clock = clock
        self._tally = Tally()
        self._next = 0.0
        self._waiting: list[Transfer] = []

    def phase(self, name: str) -> None:
        """Write a phase."""
        self._emit("phase", name=name)

    def start(self, transfers: Sequence[Transfer]) -> None:
        """Watch these transfers."""
        self._tally = Tally(transfers, self._clock)
        self._waiting = list(transfers)
        state = asdict(self._tally.totals())
        del state["rate"], state["seconds_left"]
        self._emit("start", **state)
        self._next = self._clock() + _PAUSE

    def tick(self) -> None:
        """Write which layers are done, and now and then the state of all."""
        for transfer in [transfer for transfer in self._waiting if transfer.done]:
            self._waiting.remove(transfer)
            self._emit("layer", digest=transfer.digest, size=transfer.size, reused=transfer.reused)
        self._tally.look()
        now = self._clock()
        if now >= self._next:
            self._next = now + _PAUSE
            state = asdict(self._tally.totals())
            left = state["seconds_left"]
            state |= {"rate": round(state["rate"]), "seconds_left": left and round(left, 1)}
            if not self._quiet:
                line = _line("progress", state)
                self.outbox.show(lambda: line)

    def note(self, line: str) -> None:
        """Write a note."""
        self._emit("note", message=line)

    def saved(self, saved: Saved) -> None:
        """Write what was saved."""
        self._emit(
            "saved",
            images=[
                {
                    "reference": str(image.reference),
                    "digest": image.digest,
                    "platform": str(image.platform),
                    "platforms": [str(platform) for platform in image.platforms],
                    "signers": list(image.signers),
                }
                for image in saved.images
            ],
            paths=list(saved.paths),
            size=saved.size,
            fetched=saved.fetched,
            reused=saved.reused,
            unchanged=saved.unchanged,
        )

    def checked(self, report: Report) -> None:
        """Write what was checked, and its faults."""
        values = asdict(report)
        for each in (*values["faults"], *values["unsigned"]):
            each["hint"] = as_typed(each.pop("advice"))
        self._emit("checked", **values)

    def failed(self, failure: DockersaveError) -> None:
        """Write an error."""
        values = {
            "message": as_typed(failure.marked),
            "hint": as_typed(failure.marked_hint),
            "exit_code": failure.exit_code,
            "failures": [as_typed(each.marked) for each in failure.failures],
        }
        self.write(_line("error", values))

    def _emit(self, event: str, **values: object) -> None:
        if not self._quiet:
            self.write(_line(event, values))


def _line(event: str, values: Mapping[str, object]) -> str:
    return json.dumps({"event": event, **values}) + "\n"
