"""Commands and options of other tools, and their equivalents here. Pure."""

from __future__ import annotations

from itertools import pairwise

from ..errors import shown
from ..files import ARCHIVES
from .option_table import OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SEE_HELP = "dockersave --help shows all options"

SYSTEMS = {
    *("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux"),
    *("netbsd", "openbsd", "plan9", "solaris", "wasi", "wasip1", "windows", "zos"),
}
"""Go's names of operating systems, to tell them from architectures such as `arm/v7`."""
_ARCHITECTURES = {
    *("386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"),
    *("x86_64", "aarch64"),
}

_SAVE = ("save", "pull", "download", "get", "fetch", "copy", "cp", "mirror")
_COMMANDS = {
    **dict.fromkeys(_SAVE, "leave the word out: dockersave {image}"),
    **dict.fromkeys(("export", "unpack", "extract"), "dockersave --format rootfs {image}"),
    "help": SEE_HELP,
    "version": "dockersave --version",
    "licenses": "dockersave --licenses",
    **dict.fromkeys(("tags", "list-tags"), "dockersave --tags {image}"),
    **dict.fromkeys(("inspect", "manifest"), "dockersave --metadata {image}"),
    **dict.fromkeys(("digest", "sha"), "dockersave --sha {image}"),
    "platforms": "dockersave --platforms {image}",
    **dict.fromkeys(("list", "ls", "images"), "dockersave --list {file}"),
    **dict.fromkeys(("verify", "validate", "check"), "dockersave --verify {file}"),
    "login": "log in with docker login or podman login, or add --ilogin when you save",
    **dict.fromkeys(("load", "import"), "docker load -i {file}, or podman load -i {file}"),
    "push": "dockersave uploads nothing; skopeo copy docker-archive:FILE docker://IMAGE does",
}
"""Commands of other tools, and their equivalents."""

_MEANT = {
    "--output": "-f -O --file --filename --out --outfile --output-file --dest --destination "
    "--name --archive",
    "--working-dir": "-C -d --dir --directory --chdir --output-dir --outdir",
    "--platform": "-p --os --override-os --override-variant --choose-platform",
    "--arch": "--override-arch --architecture --cpu",
    "--platform all": "-a --all --all-platforms --all-arch --multi-arch",
    "--format oci": "--oci --oci-archive",
    "--format docker": "--docker --docker-archive",
    "--gunzip": "--decompress --uncompress --uncompressed --unpack",
    "--xz": "-J",
    "--zstd": "--zst --zstandard",
    "--cache-dir": "--cache --cache-path --cache_path --blob-cache",
    "--format rootfs": "--rootfs --flatten --extract",
    "--format bundle": "--bundle",
    "--reuse": "--base --delta",
    "--from": "--from-archive --source --src",
    "--insecure": "--plain-http --http --allow-http --allow-insecure",
    "--skip-tls-verify": "-k --tls-verify --src-tls-verify --no-check-certificate --no-verify "
    "--insecure-skip-tls-verify --no-tls-verify",
    "--ca-file": "--ca --cacert --cafile --ca-cert --cert-dir --src-cert-dir",
    "--user": "-u --username --creds --src-creds",
    "--authfile": "--auth --auth-file --registry-config --config --docker-config",
    "--mirror": "--registry-mirror --proxy-registry",
    "--jobs": "-j --parallel --concurrency --threads --max-concurrent-downloads",
    "--retries": "--retry --retry-times --tries",
    "--limit-rate": "--rate --bwlimit --max-speed --speed",
    "--quiet": "-s --silent",
    "--verbose": "--debug --trace",
    "--metadata": "--manifest --inspect --raw",
    "--sha": "--digest --sha256",
    "--verify": "-i --input --check --test --validate",
    "--version": "-V",
    "--help": "-? --usage",
}
"""Options of other tools, by their equivalents."""

_SAID = {
    "the tag is part of the name: debian:12; --tags lists those there are": "-t --tag --tagname",
    "layers stay compressed as they are served; -o NAME.tar.gz compresses the whole archive": "-z "
    "--gzip --gz --compress --compression",
    "an existing archive is replaced without asking, once the new one is complete": "--force -y "
    "--yes --overwrite",
    "the same command continues where a run was stopped": "-c --continue --resume",
    "the archive is always a tar; --no-tar writes a directory": "--tar",
    "nothing is cached without --cache-dir": "--no-cache",
    "a tag is an image of its own: debian:11 debian:12; --tags lists them": "--all-tags",
    "set HTTPS_PROXY=http://HOST:PORT in the environment": "-x --proxy --http-proxy --https-proxy",
    "docker load -i FILE, or podman load -i FILE, loads an archive": "--load",
    "only the static binary has it: dockersave-static --install DIRECTORY, without other options": (
        "--install"
    ),
}
"""Hints for others."""


def command_word(images: Sequence[str]) -> tuple[str, str] | None:
    """The error if the first word is a command of another tool instead of an image.

    Args:
        images: the words that are not options.

    Returns:
        The error and the right command.
    """
    words = list(images)
    if len(words) > 1 and words[0] in ("docker", "podman", "crane", "skopeo", "regctl"):
        # A whole command was pasted; an image called docker is not followed by a command.
        if words[1] not in _COMMANDS:
            return None
        words = words[1:]
    if not words or words[0] not in _COMMANDS:
        return None
    word, *rest = words
    # As the other tool names it, with the way to reach it.
    image = shown(" ".join(each.removeprefix("docker://") for each in rest), 100)
    right = _COMMANDS[word].format(image=image or "IMAGE", file=image or "FILE")
    more = f"; an image of that name is {word}:latest" if word in _SAVE and not rest else ""
    return f"unknown command {word}", right + more


def stray_platform(images: Sequence[str]) -> str:
    """A word among the images that was meant as another platform, or empty.

    Args:
        images: the words that are not options.
    """
    for word in images:
        system, slash, rest = word.lower().partition("/")
        if slash and system in SYSTEMS and rest.partition("/")[0] in _ARCHITECTURES:
            return word
    return ""


def stray_file(images: Sequence[str]) -> str:
    """A word among the images that was meant as the archive's name, or empty.

    Args:
        images: the words that are not options.
    """
    for word in images if len(images) > 1 else ():
        if not word.startswith("@") and word.lower().endswith(ARCHIVES):
            return word
    return ""


def stray_tag(images: Sequence[str]) -> tuple[str, str] | None:
    """An image and the word behind it, if that was meant as its tag: `debian 12`.

    Docker Hub has no image of its own with such a name, and others have a `/` in theirs.

    Args:
        images: the words that are not options.
    """
    for image, word in pairwise(images):
        number = word.removeprefix("v").partition("-")[0].replace(".", "")
        if (number.isdecimal() or word == "latest") and not image.startswith("@"):
            path, slash, name = image.partition("@")[0].rpartition("/")
            return f"{path}{slash}{name.partition(':')[0]}", word
    return None


def suggestion(name: str) -> str:
    """A hint for an unknown option.

    Only equivalents are suggested: an option that merely looks alike may do the opposite.

    Args:
        name: the option, without a value.
    """
    for text, names in _SAID.items():
        if name in names.split():
            return text
    for right, names in _MEANT.items():
        if name in names.split():
            return f"did you mean {right}?"
    known = [
        word for options in OPTIONS.values() for option in options for word in option[0].split()
    ]
    longer = sorted(word for word in known if len(name) > 4 and word.startswith(name))
    if longer and all(word.startswith(longer[0]) for word in longer):
        return f"did you mean {longer[0]}?"
    from difflib import get_close_matches

    # A prefix can reverse the meaning: --secure, --no-platform.
    bare = name[:40].lstrip("-")
    alike = [
        word
        for word in known
        if word.startswith("--no-") == name.startswith("--no-")
        and not (word.endswith(bare) or bare.endswith(word.lstrip("-")))
    ]
    close = get_close_matches(name[:40], alike, 1, 0.81)
    return f"did you mean {close[0]}?" if close else SEE_HELP
