"""How texts name arguments, so that Python and the command line can each spell them its own way.

A text marks the arguments that it names. Who shows it spells the marks: this module for callers
from Python, `cli.console.spelling` for the command line. Nothing else in a text is changed: a path
or a registry's answer is never taken for an argument. Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BEGIN, _END = "\ud800", "\ud801"
"""Halves of surrogate pairs. No other text has them: neither a file's name nor UTF-8 can
(Unicode, section 3.9; undecodable bytes become other halves, PEP 383)."""

_WORDS = {
    "again": "make the same call again",
    "check": "check_archive",
    "credentials": "user= and password=",
    "example": "save('debian')",
    "help": "Options and Network have all of them",
    "help_signatures": "help(dockersave.Policy) describes its form",
    "ilogin": "user= and password=",
    "login": "user= and password=",
    "same": "the same call",
    "tags": "Registry.tags",
    "trace": "trace= gets",
}
"""What is not a field of `Options` or `Network`."""

_FLAGS = {
    "tar": "False",
    "tree": "True",
    **dict.fromkeys(("foreign", "gunzip", "insecure", "skip_tls_verify", "xz", "zstd"), "True"),
    **dict.fromkeys(("with_signatures", "with_referrers"), "True"),
}
"""What texts want flags to be."""

_NUMBERS = frozenset(("cache_size", "jobs", "limit_rate", "retries", "timeout", "wait"))
_LISTS = frozenset(
    ("annotations", "insecure_registries", "mirrors", "only", "owner_map", "reuse", "verify_keys")
)
"""What is a list; all the others are strings."""


def argument(name: str, value: object = "") -> str:
    """An argument, marked, to be put into a text.

    Args:
        name: a field of `Options` or `Network`, or a key of `_WORDS`.
        value: what it is or should be, if the text says so.
    """
    return f"{_BEGIN}{name} {value}{_END}"


def spelled(text: str, spell: Callable[[str, str], str]) -> str:
    """A text with its arguments spelled.

    Args:
        text: arguments in it are marked.
        spell: gets a name and a value, which may be empty.
    """
    if _BEGIN not in text and _END not in text:
        return text
    import re

    mark = f"{_BEGIN}([^ {_BEGIN}{_END}]*) ([^{_BEGIN}{_END}]*){_END}"
    whole = re.sub(mark, lambda match: spell(match[1], match[2]), text)
    # Of a text that was cut, half a mark may be left.
    return whole.replace(_BEGIN, "").replace(_END, "")


def as_python(text: str) -> str:
    """A text as callers from Python read it.

    Args:
        text: arguments in it are marked.
    """
    return spelled(text, _keyword)


def _keyword(name: str, value: str) -> str:
    if word := _WORDS.get(name):
        return word
    if not value:
        return f"{name}={_FLAGS.get(name, '')}"
    if name not in _NUMBERS and value[0] not in "'\"":
        value = repr(value)
    return f"{name}=[{value}]" if name in _LISTS else f"{name}={value}"


def spelled_for(listener: Callable[[str], object]) -> Callable[[str], None]:
    """Wrap a listener to get lines in its own spelling: Python's, unless it has a `spell`.

    Args:
        listener: takes one line.
    """
    spell: Callable[[str], str] = getattr(listener, "spell", as_python)

    def tell(line: str) -> None:
        listener(spell(line))

    return tell
