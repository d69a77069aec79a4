"""Sharing the tests out among the processes that pytest-xdist starts (`make test`).

What one process has started (registries, engines, fixtures of a module) serves a whole file, so a
file is run by one process. Some would take longer than all the rest: they are divided.

Only such a process imports this: one that runs the tests alone needs no xdist.
"""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

_FUNCTION = re.compile(r"::(\w+)")
_ENGINE = "docker|podman|containerd overlayfs|containerd|skopeo|umoci"
_LAST = re.compile(rf"[-\[]({_ENGINE})(?: \w+-archive)?\]$")
_DIVIDED = {
    "tests/faults/test_disk.py": _FUNCTION,
    "tests/faults/test_faults.py": _FUNCTION,
    "tests/engines/test_file_systems.py": _LAST,
    "tests/engines/test_judges.py": _LAST,
    "tests/engines/test_matrix.py": _LAST,
    "tests/engines/test_odd.py": re.compile(rf"\[({_ENGINE})"),
}
"""What tells the parts of a file apart."""

_FIRST = (
    *("tests/engines", "tests/faults/test_bounds", "tests/faults", "tests/release"),
    *("tests/test_readme", "tests/test_help", "tests/transfer", "tests/simulation", "tests/cli"),
    *("tests/registry/connections", "tests/saving", "tests/test_cancellation", "tests/rootfs"),
    *("tests/resolving", "tests/signatures"),
)
"""Slow tests start early, so that nothing waits for them in the end."""


def unit(nodeid: str) -> str:
    """Return the name of what a test is run together with, by one process."""
    path = nodeid.partition("::")[0]
    part = _DIVIDED[path].search(nodeid) if path in _DIVIDED else None
    if path.startswith("tests/engines/"):
        # Each is started once, for all files. Tests of several take docker, too.
        return f"tests/engines {part[1] if part else 'docker'}"
    return f"{path} {part[1]}" if part else path


def rank(nodeid: str) -> int:
    """Return where a test comes: the lowest first."""
    found = (number for number, path in enumerate(_FIRST) if nodeid.startswith(path))
    return next(found, len(_FIRST))


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """Whoever has done a unit gets the next one."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
