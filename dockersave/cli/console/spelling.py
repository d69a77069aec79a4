"""How the command line names what the module calls arguments: `--timeout` for `timeout=`. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ...spelling import spelled

_WORDS = {
    "again": "run the same command again",
    "check": "--verify",
    "credentials": "--ilogin, or --user and --password-stdin",
    "example": "dockersave debian",
    "help": "dockersave --help shows all options",
    "help_signatures": "dockersave --help signatures describes its form",
    "login": "--ilogin or --user",
    "same": "the same command",
    "trace": "-vv shows",
}
"""What is not an option with a value."""

_OPTIONS = {
    "from_archive": "from",
    "insecure_registries": "insecure-registry",
    "annotations": "annotation",
    "mirrors": "mirror",
    "tar": "no-tar",
    "tree": "no-rm",
    "verify_keys": "verify-key",
}
"""Options that are not named after their field."""


def as_typed(text: str) -> str:
    """A text as users of the command line read it.

    Args:
        text: arguments in it are marked.
    """
    return spelled(text, _option)


def option_of(field: str) -> str:
    """The option that sets a field of `Options` or `Network`: `--mirror` for `mirrors`."""
    return f"--{_OPTIONS.get(field) or field.replace('_', '-')}"


def _option(name: str, value: str) -> str:
    if name == "output" and value:
        return f"-o {value}"
    option = _WORDS.get(name) or option_of(name)
    return f"{option} {value}" if value else option


class Typed:
    """A listener whose lines name options.

    Args:
        listener: takes one line.
    """

    spell = staticmethod(as_typed)

    def __init__(self, listener: Callable[[str], object]) -> None:
        self._listener = listener

    def __call__(self, line: str) -> None:
        """Take one line."""
        self._listener(line)
