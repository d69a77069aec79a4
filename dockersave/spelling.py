"""How messages name an option: `--cache-dir` on the command line, `cache_dir=` in Python. Pure.

Messages and hints are written once, for the command line. For callers of the module, options become
arguments here; other programs' options stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_ELSEWHERE = {
    "no-tar": "tar=False",
    "no-rm": "tree=True",
    "insecure-registry": "insecure_registries=",
    "mirror": "mirrors=",
    "password-stdin": "password=",
    "ilogin": "user= and password=",
    "tags": "Registry.tags",
    "platforms": "Registry.platforms",
    "verify": "check_archive",
    "list": "list_archive",
    "dry-run": "forecast",
}
"""Options without a field of the same name."""

_WITH_VALUE = {
    *("authfile", "ca-file", "cache-dir", "cache-size", "cert", "format", "jobs", "key"),
    *("layers-dir", "limit-rate", "output", "password", "platform", "retries", "reuse"),
    *("tarname", "timeout", "user", "wait", "working-dir"),
}
_WITHOUT_VALUE = {"foreign", "gunzip", "insecure", "skip-tls-verify", "xz", "zstd"}
"""Options with a field of the same name."""

_PHRASES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (
        r"--ilogin(?:,? or|,) --user(?: and --password-stdin)?",
        lambda match: "user= and password=",
    ),
    (r"run the same command", lambda match: "make the same call"),
    (r"the same command", lambda match: "the same call"),
    (r"dockersave --help lists all options", lambda match: "Options and Network have all of them"),
    (r"-vv shows", lambda match: "trace= gets"),
    (r"dockersave debian$", lambda match: "save('debian')"),
    (r"-o '([^']+)'", lambda match: f"output='{match[1]}'"),
    (r"-o ([^\s,;)']+)", lambda match: f"output='{match[1]}'"),
)

# A value has a digit, a capital or a mark in it, or is one of the few words; "--wait waits" has no
# value. Quoted options are user input.
_OPTION = re.compile(r"--([a-z][a-z-]*[a-z])(?: (?=[^\s,;)]*[\d'\"/.:A-Z]|(?:all|oci|nan|inf)\b))?")
_BEFORE = r"(?:(?<=[\s(])|^)"


def as_arguments(text: str) -> str:
    """A message or a hint with Python's arguments instead of options.

    Args:
        text: as written for the command line.
    """
    for pattern, replace in _PHRASES:
        text = re.sub(_BEFORE + pattern, replace, text)
    return re.sub(_BEFORE + _OPTION.pattern, _argument, text)


def _argument(match: re.Match[str]) -> str:
    option = match[1]
    value = match[0][len(option) + 2 :]
    if option in _ELSEWHERE:
        word = _ELSEWHERE[option]
        return word if word.endswith("=") else word + value
    if option in _WITH_VALUE:
        return f"{option.replace('-', '_')}="
    if option in _WITHOUT_VALUE:
        return f"{option.replace('-', '_')}=True{value}"
    return match[0]


class AsTyped:
    """A listener that wants lines unchanged, in the command line's spelling.

    Args:
        listener: takes one line.
    """

    def __init__(self, listener: Callable[[str], object]) -> None:
        self.listener = listener

    def __call__(self, line: str) -> None:
        """Take one line."""
        self.listener(line)


def spelled_for(listener: Callable[[str], object]) -> Callable[[str], None]:
    """Wrap a listener to get lines in its own spelling: Python's, unless it is `AsTyped`.

    Args:
        listener: takes one line.
    """
    if isinstance(listener, AsTyped):
        return listener

    def tell(line: str) -> None:
        listener(as_arguments(line))

    return tell
