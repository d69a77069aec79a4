"""The command line: parse it into `Options` and `Network`.

The options are in `option_table`; this module parses and checks them.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys

from ..errors import UsageError, shown
from ..model.platforms import SYSTEMS
from ..values import names_of
from .console.spelling import option_of
from .option_table import NETWORK, OPTIONS, REGISTRY, SUMMARY, TRUST, USAGE, WHAT, WHERE
from .other_tools import (
    SEE_HELP,
    command_word,
    stray_dash,
    stray_file,
    stray_platform,
    stray_tag,
    suggestion,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, NoReturn

    from ..model.options import Network, Options

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


class _Given(argparse.Action):
    """A value: the last one counts, or all of them if the default is a list."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        name = self.option_strings[-1]
        if values == "":
            parser.error(f"{name} is empty: is a variable of your script not set?")
        if isinstance(self.default, list):
            values = [*getattr(namespace, self.dest), values]
        setattr(namespace, self.dest, values)


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15})(|[kmg]i?)b?", text.lower())
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 500k, 2M or 1G")
    return int(match[1]) * _UNITS[match[2]]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _jobs(text: str) -> int | None:
    from ..model.options import Network

    return Network(jobs=_count(text)).jobs


def _default_jobs() -> int | None:
    """DOCKERSAVE_JOBS, which the static binary sets if memory is short; users may, too."""
    text = os.environ.get("DOCKERSAVE_JOBS", "")
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else None


def _seconds(name: str, text: str) -> float:
    from ..model.options import Network

    try:
        given: dict[str, Any] = {name: float(text)}
    except ValueError:
        match = re.fullmatch(r"([0-9]{1,6})\s?([smh])[a-z]{0,6}", text.lower())
        meant = int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 60
        raise UsageError(
            f"--{name}: {_short(ascii(text))} is not a number of seconds",
            f"write it without a unit: --{name} {meant}",
        ) from None
    return float(getattr(Network(**given), name))


def _registry(text: str) -> str:
    from ..model.options import Network

    return Network(insecure_registries=(text,)).insecure_registries[0]


def _topic(text: str) -> str:
    from .guides import topics

    if text not in topics():
        from difflib import get_close_matches

        close = get_close_matches(text[:40], topics(), 1)
        guess = f"did you mean {close[0]}? " if close else ""
        raise argparse.ArgumentTypeError(
            f"no guide on {_short(ascii(text))}; {guess}topics: {', '.join(topics())}"
        )
    return text


_KINDS: Mapping[str, Callable[[str], object]] = {
    "size": _size,
    "count": _count,
    "jobs": _jobs,
    "wait": functools.partial(_seconds, "wait"),
    "timeout": functools.partial(_seconds, "timeout"),
    "registry": _registry,
    "topic": _topic,
}

_POINTLESS: Mapping[str, tuple[str, Sequence[str]]] = {
    "tags": ("saves nothing", (WHAT, WHERE, TRUST)),
    "metadata": ("saves nothing", (WHERE, TRUST)),
    "sha": ("saves nothing", (WHERE, TRUST)),
    "platforms": ("saves nothing", (WHAT, WHERE, TRUST)),
    "verify": ("only reads a file", (WHAT, WHERE, REGISTRY, NETWORK)),
    "list": ("only reads a file", (WHAT, WHERE, REGISTRY, TRUST, NETWORK)),
    "dry_run": ("", ()),
    "from": ("asks no registry", (REGISTRY, NETWORK)),
}
"""Groups whose options have no meaning beside an option, and why."""
_POINTED = {("from", "--jobs")}
"""Options of these groups that do have one: as many layers are unpacked at once."""
_OF_A_FILE = ("verify", "list")


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError`. The help page is made without it."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line, without showing values, which may be secret."""
        # "ignored explicit argument 'secret'"
        message = re.sub("ignored explicit argument.*", "takes no value", message, flags=re.DOTALL)
        message = message.removeprefix("argument ")
        option = message.partition(":")[0].rpartition("/")[2]
        hint = _usage_of(option) if "expected one argument" in message else SEE_HELP
        raise UsageError(message, hint)

    def read(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parse a command line; options and images may come in any order.

        Args:
            argv: the arguments without the program's name; None for this process's.

        Raises:
            UsageError: it is invalid.
        """
        words = list(sys.argv[1:] if argv is None else argv)
        end = words.index("--") if "--" in words else len(words)
        arguments, unknown = self.parse_known_intermixed_args(words[:end])
        arguments.images += words[end + 1 :]
        if unknown and (wrong := command_word(arguments.images, only_word=True)):
            raise UsageError(*wrong)  # its options are not ours
        for word in [] if arguments.help or arguments.version else unknown:
            # The value is not shown: the intended option may be --password.
            name = word.partition("=")[0]
            raise UsageError(f"unknown option {_short(name)}", suggestion(name))
        return arguments


def _usage_of(option: str) -> str:
    """What to write for an option that lacks its value."""
    for options in OPTIONS.values():
        for names, _, settings in options:
            if option in names.split():
                return f"write {option} {settings['metavar']}"
    return SEE_HELP


def parser() -> Parser:
    """The command line's parser."""
    made = Parser(
        prog="dockersave",
        usage=USAGE,
        description=SUMMARY,
        # A fixed width: argparse imports half the standard library to find one.
        formatter_class=functools.partial(argparse.HelpFormatter, width=80),
        allow_abbrev=False,
        add_help=False,
    )
    for title, options in OPTIONS.items():
        group = made.add_argument_group(title)
        for names, meaning, settings in options:
            details = dict(settings)
            if "action" not in details:
                kind = details.pop("kind")
                details |= {"action": _Given, "type": _KINDS[kind] if kind else None}
            group.add_argument(*names.split(), help=meaning, **details)
    made.add_argument("images", nargs="*", metavar="IMAGE", help=argparse.SUPPRESS)
    return made


def check(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other, or have no meaning together.

    Raises:
        UsageError: they do; the message says which and why.
    """
    if option := stray_dash(arguments.images):
        raise UsageError(
            f"{_short(ascii(option))} is written with a dash instead of hyphens",
            f"type it: {shown(option, 40)}",
        )
    if wrong := command_word(arguments.images):
        raise UsageError(*wrong)
    if arguments.platform and (stray := stray_platform(arguments.images)):
        raise UsageError(
            f"{_short(ascii(stray))} is a platform, but an image was expected",
            "save one platform at a time, or all of them: --platform all",
        )
    if not arguments.output and (found := stray_file(arguments.images)):
        word, file = found
        raise UsageError(
            f"{_short(ascii(word))} is the name of a file, but an image was expected",
            f"to save into it: -o {shown(file, 100)}",
        )
    if pair := stray_tag(arguments.images):
        image, tag = pair
        raise UsageError(
            f"{_short(ascii(tag))} is a tag, but an image was expected",
            f"write it with a colon: {shown(image, 100)}:{shown(tag, 100)}",
        )
    special = [name for name in _POINTLESS if getattr(arguments, name)]
    questions = [name for name in special if name != "from"]
    if len(questions) > 1:
        first, second = (f"--{name}".replace("_", "-") for name in questions[:2])
        raise UsageError(f"{first} and {second} cannot be combined", "use one at a time")
    for name in special:
        why, groups = _POINTLESS[name]
        for option in _given(arguments, groups):
            if (name, option) not in _POINTED:
                raise UsageError(f"--{name} {why}: {option} has no effect", "drop it")
    for question in _OF_A_FILE:
        if getattr(arguments, question) and arguments.images:
            hint = f"dockersave --{question} debian.tar"
            raise UsageError(f"--{question} takes a file, not an image", hint)
    if arguments.json and not (arguments.platforms or arguments.list or arguments.dry_run):
        raise UsageError(
            "--json is for --platforms, --list and --dry-run",
            "--metadata is JSON anyway; --progress json is for a program that watches",
        )
    for first, second, why in (
        ("quiet", "verbose", "contradict each other"),
        ("arch", "platform", "both name the platform"),
        ("skip_tls_verify", "ca_file", "contradict each other"),
        ("platform", "locked", "both name the platform"),
        ("arch", "locked", "both name the platform"),
        ("dry_run", "lock", "contradict each other: nothing is written"),
        ("ilogin", "password", "both say where the password comes from"),
        ("ilogin", "password_stdin", "both say where the password comes from"),
        ("password", "password_stdin", "both say where the password comes from"),
    ):
        if _is_given(arguments, first) and _is_given(arguments, second):
            names = f"--{first} and --{second}".replace("_", "-")
            raise UsageError(f"{names} {why}", "choose one")
    for name, needed in (
        ("password", "user"),
        ("password_stdin", "user"),
        ("key", "cert"),
        ("cache_size", "cache_dir"),
        ("annotation", "verify_key"),
    ):
        if _is_given(arguments, name) and not _is_given(arguments, needed):
            pair = f"--{name} needs --{needed}", f"add --{needed}, or drop --{name}"
            raise UsageError(*(words.replace("_", "-") for words in pair))
    system, slash, _ = (arguments.arch or "").partition("/")
    if slash and system.lower() in SYSTEMS:
        raise UsageError(
            f"--arch {_short(ascii(arguments.arch))} names an operating system",
            "write --platform OS/ARCH[/VARIANT] for both",
        )


def _is_given(arguments: argparse.Namespace, name: str) -> bool:
    return getattr(arguments, name) not in (None, False, [])


def _given(arguments: argparse.Namespace, groups: Sequence[str]) -> Iterator[str]:
    for group in groups:
        for names, _, settings in OPTIONS[group]:
            option = names.split()[-1]
            value = getattr(arguments, _attribute(option))
            if value != settings.get("default", False):
                yield option


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def options(arguments: argparse.Namespace) -> Options:
    """What to save, where to, and how."""
    from ..model.options import Options

    chosen = _fields(Options, arguments)
    chosen["tar"] = not arguments.no_tar
    chosen["tree"] = arguments.no_tar or arguments.no_rm
    if arguments.arch:
        chosen["platform"] = f"linux/{arguments.arch}"
    return Options(**chosen)


def network(arguments: argparse.Namespace) -> Network:
    """How to reach registries; credentials as given, without prompting yet."""
    from ..model.options import Network

    return Network(**{"jobs": _default_jobs(), **_fields(Network, arguments)})


def _fields(kind: type, arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given for the fields of a class; each is named like its option."""
    given = ((name, getattr(arguments, _attribute(option_of(name)))) for name in names_of(kind))
    return {name: value for name, value in given if value is not None}


def _attribute(option: str) -> str:
    """Where the parser puts the value of an option."""
    return option.lstrip("-").replace("-", "_")
