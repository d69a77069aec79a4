"""Runs in the frozen program before dockersave does (a run-time hook of PyInstaller).

The program sees the user's environment, not the frozen one, and so do the helpers that it starts.
And a module that is not found may be among the files that the launcher unpacks only when asked to.

Every start pays for what is imported here.
"""

from __future__ import annotations

import _signal
import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

HIDDEN = {
    "~D_LIBRARY_PATH": "LD_LIBRARY_PATH_ORIG",
    "~D_PRELOAD": "LD_PRELOAD",
    "~D_AUDIT": "LD_AUDIT",
}
"""What the launcher made of variables for the loader, and what they are called here."""
REST = "DOCKERSAVE_REST"


def restore(environment: MutableMapping[str, str]) -> None:
    """Undo what the launcher and the bootloaders of PyInstaller and staticx did to the environment.

    The user's LD_LIBRARY_PATH stays where PyInstaller puts it, in LD_LIBRARY_PATH_ORIG, from where
    `dockersave.registry.credentials.helpers` takes it for the helpers.
    """
    for name in list(environment):
        if name in HIDDEN:
            environment[HIDDEN[name]] = environment.pop(name)
        elif name.startswith(("_PYI_", "STATICX_")):
            del environment[name]


class Rest:
    """The finder that comes last: has the rest of the files unpacked, and asks the others again."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._fd = fd
        self._lock = _thread.RLock()
        self._unpacked = False
        self._problem = ""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module as the other finders do once everything is unpacked.

        Raises DockersaveError, each time, if the files cannot be unpacked.
        """
        with self._lock:
            if not self._unpacked:
                self._unpacked = True
                self._problem = self._unpack()
                for finder in list(sys.path_importer_cache.values()):
                    if finder is not None and hasattr(finder, "invalidate_caches"):
                        finder.invalidate_caches()
        if self._problem:
            from dockersave.errors import DockersaveError

            raise DockersaveError(*self._problem.split("\n"))
        for other in sys.meta_path:
            spec = None if other is self else other.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None

    def _unpack(self) -> str:
        """Return why it is impossible and what would help, each on a line, or nothing."""
        try:
            os.write(self._fd, b"\0")
            answer = os.read(self._fd, 10_000)
        except OSError as error:
            return f"the rest of the program cannot be unpacked: {error}"
        finally:
            os.close(self._fd)
        if not answer:
            return "the process that unpacks was killed\nmemory may have run out; give it more"
        return answer.rstrip(b"\0").decode()


# Before the command has its handlers, an interrupt ends the process, like other signals, and not
# with a traceback out of some import. The launcher keeps it blocked until here.
if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGINT])
# Distributions say it in /etc/host.conf: a name can stand on several lines of /etc/hosts. In this
# process alone: what helpers get is taken from os.environ.
if "RESOLV_MULTI" not in os.environ:
    os.putenv("RESOLV_MULTI", "on")
rest = os.environ.pop(REST, None)
restore(os.environ)
if rest is not None:
    sys.meta_path.append(Rest(int(rest)))
