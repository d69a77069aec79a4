"""Commands and options of other tools, and their equivalents here. Pure."""

from __future__ import annotations

from itertools import pairwise

from ..errors import shown
from ..files import ARCHIVES
from ..model.platforms import SYSTEMS
from ..model.web_addresses import without_secrets
from .option_table import OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SEE_HELP = "dockersave --help shows all options"

_ARCHITECTURES = {
    *("386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"),
    *("x86_64", "aarch64"),
}
_TRANSPORTS = {
    **dict.fromkeys(("docker-archive", "oci-archive"), "-o"),
    **dict.fromkeys(("oci", "dir"), "--no-tar -o"),
}
"""Files as containers' tools write them, and the options that write them."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212"
"""What word processors make of hyphens."""

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
_TOOLS = {
    *("docker", "podman", "nerdctl", "buildah", "crane", "skopeo", "regctl", "oras"),
    *("ctr", "crictl", "k3s", "sudo"),
}
_OBJECTS = {
    *("image", "images", "container", "containers", "artifact", "manifest", "tag", "repo"),
    *("buildx", "imagetools"),
}
"""Words between a tool and its command."""

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
    "--skip-tls-verify": "-k --no-check-certificate --no-verify --insecure-skip-tls-verify "
    "--no-tls-verify",
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
    "did you mean --skip-tls-verify? certificates are checked without it": "--tls-verify "
    "--src-tls-verify --dest-tls-verify",
    "a tag is an image of its own: debian:11 debian:12; --tags lists them": "--all-tags",
    "set HTTPS_PROXY=http://HOST:PORT in the environment": "-x --proxy --http-proxy --https-proxy",
    "docker load -i FILE, or podman load -i FILE, loads an archive": "--load",
    "only the static binary has it: dockersave-static --install DIRECTORY, without other options": (
        "--install"
    ),
}
"""Hints for others."""


def command_word(images: Sequence[str], *, only_word: bool = False) -> tuple[str, str] | None:
    """The error if the first words are a command of another tool instead of an image.

    Args:
        images: the words that are not options.
        only_word: whether words behind the command may be values of unknown options.

    Returns:
        The error and the right command.
    """
    place = -1
    for number, each in enumerate(images):
        if each in _COMMANDS:
            place = number
        if each not in _TOOLS | _OBJECTS:
            break
    if place < 0:
        return None
    word = images[place]
    before = images[:place]
    rest = () if only_word else images[place + 1 :]
    is_about_tags = "crane" in before or "tag" in before
    meant = "tags" if word in ("ls", "list") and is_about_tags else word
    image = shown(" ".join(map(_written_here, rest)), 100)
    file = shown(" ".join(_file_in(each) or without_secrets(each) for each in rest), 100)
    right = _COMMANDS[meant].format(image=image or "IMAGE", file=file or "FILE")
    more = f"; an image of that name is {word}:latest" if word in _SAVE and not rest else ""
    return f"unknown command {word}", right + more


def _written_here(word: str) -> str:
    """An image or a file as another tool names it, with the way to reach it."""
    if file := _file_in(word):
        option = _TRANSPORTS.get(word.partition(":")[0], "-o")
        return f"{option} {file}"
    return without_secrets(word).removeprefix("docker://")


def _file_in(word: str) -> str:
    """The name of the file that a word is about, or empty if it is about none."""
    transport, colon, rest = word.partition(":")
    port, slash, _ = rest.partition("/")
    if colon and transport in _TRANSPORTS and not (slash and port.isdecimal()):
        return rest.partition(":")[0]
    is_archive = not word.startswith("@") and word.lower().endswith(ARCHIVES)
    return word if is_archive else ""


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


def stray_file(images: Sequence[str]) -> tuple[str, str] | None:
    """A word among the images that was meant as the archive's name, and that name.

    Args:
        images: the words that are not options.
    """
    for word in images:
        file = _file_in(word)
        # A single word that merely looks like a file may be an image.
        if file and (len(images) > 1 or file != word):
            return word, file
    return None


def stray_dash(images: Sequence[str]) -> str:
    """The option that was meant by a word that a word processor has changed, or empty.

    It makes one dash of two hyphens.

    Args:
        images: the words that are not options.
    """
    for word in images:
        # The value is not shown: it may be a password.
        name = word.partition("=")[0].lstrip(_DASHES + "-")
        if word[:1] and word[0] in _DASHES:
            return f"--{name}" if len(name) > 1 else f"-{name}"
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
            path, slash, name = without_secrets(image).partition("@")[0].rpartition("/")
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
