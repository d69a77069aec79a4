"""Every option, and the help page. Data and a loop: `--help` answers without a parser.

The parser, the man page and the completions are made from this table, too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Even typing takes longer to import than what this needs.
    from collections.abc import Mapping, Sequence
    from typing import Any

    Option = tuple[str, str, Mapping[str, Any]]
    """Names, meaning, and what `ArgumentParser.add_argument` is told."""

SUMMARY = "Save container images from a registry into a tar file, without Docker."
USAGE = "dockersave [OPTIONS] IMAGE [IMAGE ...]"
EPILOG = """\
An IMAGE is written as for Docker: [registry[:port]/]name[:tag][@digest].
@FILE stands for the images listed in FILE, one a line; # begins a comment.

exit codes:
  0 done    2 usage           4 credentials          6 wrong content
  1 a bug   3 no such image   5 network or registry  7 output cannot be written
  128 + n   stopped by signal n; the same command goes on (--xz, -o -: anew)

examples:
  dockersave debian                      # writes library-debian-latest.tar
  dockersave alpine:3.20 -o - | docker load
  dockersave --arch arm64 debian:12 ghcr.io/org/app:1 -o bundle.tar
  dockersave --insecure localhost:5000/app
"""

_HELP_COLUMN = 36

FORMATS = ("docker", "oci", "legacy")
PROGRESS = ("auto", "bar", "plain", "json", "none")


def _flag(names: str, meaning: str) -> Option:
    return names, meaning, {"action": "store_true"}


def _tally(names: str, meaning: str) -> Option:
    return names, meaning, {"action": "count", "default": 0}


def _value(
    names: str,
    metavar: str,
    meaning: str,
    *,
    kind: str | None = None,
    choices: Sequence[str] | None = None,
    default: object = None,
) -> Option:
    settings = {"metavar": metavar, "kind": kind, "choices": choices, "default": default}
    return names, meaning, settings


def _values(names: str, metavar: str, meaning: str, *, kind: str | None = None) -> Option:
    return names, meaning, {"metavar": metavar, "kind": kind, "default": []}


WHAT, WHERE, REGISTRY, NETWORK, TALK, ASK = (
    "what to save",
    "where to, and how",
    "registry",
    "network",
    "talk",
    "ask instead of saving",
)

OPTIONS: Mapping[str, Sequence[Option]] = {
    WHAT: [
        _value("--platform", "OS/ARCH[/VARIANT]", "default: this host's; 'all' keeps every one"),
        _value("--arch", "ARCH", "short for --platform linux/ARCH"),
        _flag("--foreign", "fetch layers that lie elsewhere, too"),
    ],
    WHERE: [
        _value("-o --output", "FILE", "write FILE; - is standard output"),
        _value("--working-dir", "DIR", "write everything there; default: here", default=""),
        _value("--tarname", "NAME", "the archive's name in the working directory"),
        _flag("--no-tar", "leave the directory structure, no archive"),
        _flag("--no-rm", "keep the directory structure, too"),
        _value("--layers-dir", "NAME", "the directory structure's name"),
        _value(
            "--format",
            "FORMAT",
            "docker (default), oci or legacy (old Docker)",
            choices=FORMATS,
            default="docker",
        ),
        _flag("--gunzip", "store layers uncompressed"),
        _flag("--xz", "compress, as -o NAME.tar.xz does"),
        _flag("--zstd", "as -o NAME.tar.zst does; .tar.gz works, too"),
        _values("--reuse", "FILE", "take layers from an archive; repeatable"),
        _value("--cache-dir", "DIR", "keep layers there for other runs"),
        _value("--cache-size", "SIZE", "at most that much; default: 10Gi", kind="size"),
    ],
    REGISTRY: [
        _flag("--insecure", "plain HTTP for all but Docker Hub"),
        _values(
            "--insecure-registry",
            "HOST[:PORT]",
            "plain HTTP for this one; repeatable",
            kind="registry",
        ),
        _flag("--skip-tls-verify", "do not check certificates"),
        _value("--ca-file", "FILE", "trust these authorities as well"),
        _value("--cert", "FILE", "show this client certificate"),
        _value("--key", "FILE", "its key, unless it is in the same file"),
        _value("--user", "NAME", "log in; asks for the password"),
        _value("--password", "WORD", "the password (others can see it)"),
        _flag("--password-stdin", "read the password from standard input"),
        _flag("--ilogin", "ask for user and password"),
        _value("--authfile", "FILE", "credentials as Docker and podman keep them"),
        _values("--mirror", "URL", "try there first; repeatable"),
    ],
    NETWORK: [
        _value("--jobs", "N", "connections at once; default: 8 to 16", kind="jobs"),
        _value("--retries", "N", "tries after a failure; default: 5", kind="count", default=5),
        _value(
            "--timeout",
            "SECONDS",
            "to connect, and without data; default: 30",
            kind="timeout",
            default=30.0,
        ),
        _value("--limit-rate", "RATE", "bytes a second, such as 500k or 2M", kind="size"),
        _value(
            "--wait",
            "SECONDS",
            "for a network that is not up yet; default: 0",
            kind="seconds",
            default=0.0,
        ),
    ],
    TALK: [
        _flag("-q --quiet", "say nothing but errors"),
        _tally("-v --verbose", "layers and tracebacks; -vv: each request"),
        _value(
            "--progress",
            "KIND",
            "auto (default), bar, plain, json or none",
            choices=PROGRESS,
            default="auto",
        ),
    ],
    ASK: [
        _flag("--tags", "the repository's tags, one a line"),
        _flag("--metadata", "the image's manifest as JSON"),
        _flag("--sha", "the image's digest"),
        _value("--verify", "FILE", "check a saved archive"),
        _flag("--platforms", "the platforms that there are images for"),
        _value("--list", "FILE", "what an archive holds, without checking it"),
        _flag("--dry-run", "what would be fetched, reused and written"),
        _flag("--json", "answer one of the last three as JSON"),
        _flag("--licenses", "the licences of what this program is made of"),
        _flag("--version", "the version"),
        _flag("-h --help", "this page"),
    ],
}


def page() -> str:
    """The help page: 80 columns, the same for every Python, terminal and locale."""
    lines = [f"usage: {USAGE}", "", SUMMARY, ""]
    for title, options in OPTIONS.items():
        lines.append(f"{title}:")
        for names, meaning, settings in options:
            invocation = f"  {', '.join(names.split())} {settings.get('metavar', '')}"
            lines.append(f"{invocation.rstrip():{_HELP_COLUMN}}{meaning}")
        lines.append("")
    return "\n".join(lines) + "\n" + EPILOG
