"""Every option, and the help page: data and a loop, so that `--help` needs no parser.

The parser, the man page and the completions are made from this table, too. An option sets the field
of `Options` or `Network` that is named like it; without it, the field has its own default.
"""

from __future__ import annotations

from ..model.formats import every_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Even importing typing takes longer than this.
    from collections.abc import Mapping, Sequence
    from typing import Any

    Option = tuple[str, str, Mapping[str, Any]]
    """Names, meaning, and arguments for `ArgumentParser.add_argument`."""

SUMMARY = "Save container images from a registry into a tar file, without Docker."
USAGE = "dockersave [OPTIONS] IMAGE [IMAGE ...]"
EPILOG = """\
An IMAGE is written as for Docker: [registry[:port]/]name[:tag][@digest].
@FILE reads images from FILE, one per line; # starts a comment.

exit codes:
  0 done    2 usage           4 credentials          6 wrong content
  1 bug     3 no such image   5 network or registry  7 cannot write the output
  8 no valid signature
  128 + n   stopped by signal n; run it again to resume (not --xz, rootfs, -o -)

examples:
  dockersave debian                      # writes library-debian-latest.tar
  dockersave alpine:3.20 -o - | docker load
  dockersave --arch arm64 debian:12 ghcr.io/org/app:1 -o bundle.tar
  dockersave --insecure localhost:5000/app
"""

_HELP_COLUMN = 36
_TOPIC_COLUMN = 20

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


def _choice(names: str, metavar: str, meaning: str, *, kind: str) -> Option:
    """An option whose value may be omitted."""
    return names, meaning, {"metavar": metavar, "kind": kind, "nargs": "?", "const": True}


def _one_of(words: Sequence[str]) -> str:
    """Words to choose from, the default first: `docker, oci or legacy`."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


WHAT, WHERE, REGISTRY, TRUST, NETWORK, OUTPUT, ASK = (
    "what to save",
    "where and how to save it",
    "registry",
    "signatures",
    "network",
    "output",
    "ask instead of saving",
)

OPTIONS: Mapping[str, Sequence[Option]] = {
    WHAT: [
        _value("--platform", "OS/ARCH[/VARIANT]", "default: this host's; 'all' saves them all"),
        _value("--arch", "ARCH", "short for --platform linux/ARCH"),
        _flag("--foreign", "also fetch layers hosted elsewhere"),
        _flag("--with-signatures", "also save the signatures"),
        _flag("--with-referrers", "also save all that refers to it, as SBOMs"),
        _value("--locked", "FILE", "save exactly what a lock file says"),
    ],
    WHERE: [
        _value("-o --output", "FILE", "write FILE; - means standard output"),
        _value("--working-dir", "DIR", "write to DIR; default: current directory"),
        _value("--tarname", "NAME", "name of the archive in the working directory"),
        _flag("--no-tar", "write a directory instead of an archive"),
        _flag("--no-rm", "write a directory as well as the archive"),
        _value("--layers-dir", "NAME", "name of that directory"),
        _value(
            "--format",
            "FORMAT",
            _one_of(every_format()),
            choices=every_format(),
        ),
        _values("--only", "PATH", "only this part of rootfs; repeatable"),
        _values("--owner-map", "INSIDE:OUTSIDE:COUNT", "other owners; repeatable"),
        _flag("--gunzip", "store layers uncompressed"),
        _flag("--xz", "compress the archive, like -o NAME.tar.xz"),
        _flag("--zstd", "like -o NAME.tar.zst (.tar.gz works too)"),
        _values("--reuse", "FILE", "take layers from an archive; repeatable"),
        _value("--from", "FILE", "a saved archive, for rootfs and bundle"),
        _value("--lock", "FILE", "write what was resolved, for --locked"),
        _value("--cache-dir", "DIR", "cache layers in DIR for later runs"),
        _value("--cache-size", "SIZE", "maximum size of the cache; default: 10Gi", kind="size"),
    ],
    REGISTRY: [
        _flag("--insecure", "use plain HTTP, except for Docker Hub"),
        _values(
            "--insecure-registry",
            "HOST[:PORT]",
            "use plain HTTP for this one; repeatable",
            kind="registry",
        ),
        _flag("--skip-tls-verify", "do not check certificates"),
        _value("--ca-file", "FILE", "also trust the authorities in FILE"),
        _value("--cert", "FILE", "client certificate"),
        _value("--key", "FILE", "its key, if it is not in the same file"),
        _value("--user", "NAME", "log in; prompts for the password"),
        _value("--password", "WORD", "the password (other users can see it)"),
        _flag("--password-stdin", "read the password from standard input"),
        _flag("--ilogin", "prompt for user name and password"),
        _value("--authfile", "FILE", "credentials file of Docker or podman"),
        _values("--mirror", "URL", "try this mirror first; repeatable"),
    ],
    TRUST: [
        _values("--verify-key", "FILE", "save only what this key signed; repeatable"),
        _values("--annotation", "KEY=VALUE", "this must have been signed; repeatable"),
        _value("--policy", "FILE", "which images need which keys"),
    ],
    NETWORK: [
        _value("--jobs", "N", "parallel connections; default: 8 to 16", kind="jobs"),
        _value("--retries", "N", "retries of each request; default: 5", kind="count"),
        _value("--timeout", "SECONDS", "to connect, or without data; default: 30", kind="timeout"),
        _value("--limit-rate", "RATE", "bytes per second, such as 500k or 2M", kind="size"),
        _value("--wait", "SECONDS", "time to wait for the network; default: 0", kind="wait"),
    ],
    OUTPUT: [
        _flag("-q --quiet", "print only errors"),
        _tally("-v --verbose", "layers and tracebacks; -vv: every request"),
        _value(
            "--progress",
            "KIND",
            "auto (default), bar, plain, json or none",
            choices=PROGRESS,
            default="auto",
        ),
    ],
    ASK: [
        _flag("--tags", "list the repository's tags, one per line"),
        _flag("--metadata", "print the image's manifest as JSON"),
        _flag("--sha", "print the image's digest"),
        _value("--verify", "FILE", "check a saved archive"),
        _flag("--platforms", "list the image's platforms"),
        _value("--list", "FILE", "list an archive's images, checking nothing"),
        _flag("--dry-run", "show what would be fetched and written"),
        _flag("--json", "--platforms, --list or --dry-run as JSON"),
        _flag("--licenses", "print the licences of all components"),
        _flag("--version", "print the version"),
        _choice("-h --help", "[TOPIC]", "this page, or a guide (topics below)", kind="topic"),
    ],
}


def page() -> str:
    """The help page: 80 columns, the same for every Python, terminal and locale."""
    from .guides import subject, topics

    lines = [f"usage: {USAGE}", "", SUMMARY, ""]
    for title, options in OPTIONS.items():
        lines.append(f"{title}:")
        for names, meaning, settings in options:
            invocation = f"  {', '.join(names.split())} {settings.get('metavar', '')}"
            lines.append(f"{invocation.rstrip():{_HELP_COLUMN}}{meaning}")
        lines.append("")
    lines.append("guides, shown by --help TOPIC:")
    lines += [f"  {topic:{_TOPIC_COLUMN - 2}}{subject(topic)}" for topic in topics()]
    return "\n".join([*lines, "", EPILOG])
