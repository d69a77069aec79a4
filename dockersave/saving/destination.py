"""Which files a call writes, and which options contradict each other. Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..archive.formats import format_named
from ..archive.write.compressors import kind_of, without_suffix
from ..errors import UsageError
from ..model.options import Options
from ..model.reference import Reference
from ..spelling import argument
from ..values import dataclass, replace

STDOUT = "-"
_NO_NAMES = ("", ".", "..")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the output goes.

    Args:
        archive: the archive's path, `-` for standard output, or None for none.
        tree: the directory's path, or None for none.
        working_dir: directory for unnamed temporary files.
        compression: of the archive: `gzip`, `zstd`, `xz`; empty for none.
        is_file_system: whether it is a file system, instead of images.
        chosen_by: the field of `Options` that says which directory all of it is in.
    """

    archive: str | None
    tree: str | None
    working_dir: str
    compression: str = ""
    is_file_system: bool = False
    chosen_by: str = "working_dir"

    @property
    def is_stream(self) -> bool:
        """Whether the archive is written to standard output."""
        return self.archive == STDOUT

    @property
    def paths(self) -> tuple[str, ...]:
        """The file and the directory to write; a stream is neither."""
        return tuple(path for path in (self.archive, self.tree) if path and path != STDOUT)

    @classmethod
    def of(cls, options: Options, references: Sequence[Reference]) -> Destination:
        """Decide.

        Raises:
            UsageError: the options contradict each other.
        """
        if not options.tar and options.output:
            # A directory may be written with a slash behind it.
            options = replace(options, output=options.output.rstrip("/") or options.output)
        _check(options, references)
        form = format_named(options.format)
        stem = references[0].file_stem + form.suffix
        beside = os.path.dirname(options.output or "")
        chosen_by = "output" if beside else "working_dir"
        tree = None
        if options.tree:
            # Next to the archive, even if none is written.
            name = options.layers_dir or _stem(options, stem)
            tree = os.path.join(options.working_dir, beside, name)
        if not options.tar:
            where = os.path.dirname(tree or "")
            return cls(None, tree, where, "", form.is_file_system, chosen_by)
        if options.output == STDOUT:
            return cls(STDOUT, tree, options.working_dir, _compression(options))
        compression = _compression(options)
        name = options.output or options.tarname or f"{stem}.tar{_SUFFIXES[compression]}"
        archive = os.path.join(options.working_dir, name)
        if tree is not None and os.path.normpath(archive) == os.path.normpath(tree):
            raise UsageError(
                f"archive and directory would both be {archive}",
                f"name the directory: {argument('layers_dir')}",
            )
        where = os.path.dirname(archive)
        return cls(archive, tree, where, compression, form.is_file_system, chosen_by)


_SUFFIXES = {"": "", "gzip": ".gz", "zstd": ".zst", "xz": ".xz"}
_MISLEADING = (
    ".gz",
    ".zst",
    ".xz",
    ".bz2",
    ".tbz",
    ".tbz2",
    ".lz",
    ".lz4",
    ".lzma",
    ".zip",
    ".7z",
    ".squashfs",
    ".sqfs",
    ".erofs",
    ".ext4",
    ".iso",
    ".cpio",
)
"""What nobody expects to be a plain tar."""


def _compression(options: Options) -> str:
    """The compression from the options or the archive's name.

    Raises:
        UsageError: they disagree, or the name promises what is not written.
    """
    asked = "xz" if options.xz else "zstd" if options.zstd else ""
    named = options.output or options.tarname or ""
    promised = kind_of(named)
    if asked and promised not in ("", asked):
        raise UsageError(
            f"{argument(asked)} contradicts the name {named}, which promises {promised}",
            f"leave out {argument(asked)}, or write another name",
        )
    if not (asked or promised) and named.lower().endswith(_MISLEADING):
        raise UsageError(
            f"{named} would not be what its name promises",
            "choose a name in .tar, .tar.gz, .tar.zst or .tar.xz",
        )
    return asked or promised


def _stem(options: Options, stem: str) -> str:
    named = os.path.basename(options.output or options.tarname or stem)
    name = without_suffix(named) if named != STDOUT else stem
    if name in _NO_NAMES:
        # ".tar" or "...tar" would leave "." or "..", and that would be replaced.
        raise UsageError(
            f"{named!r} leaves no name for the directory", f"name it: {argument('layers_dir')}"
        )
    return name


def _check(options: Options, references: Sequence[Reference]) -> None:
    named = options.output or options.tarname
    if not references:
        raise UsageError("no image was given", argument("example"))
    if len(references) > 1 and not named:
        raise UsageError(
            f"{len(references)} images need a name for the archive",
            f"add {argument('output', 'bundle.tar')}",
        )
    for name in ("only", "owner_map"):
        if getattr(options, name) and not format_named(options.format).is_file_system:
            raise UsageError(
                f"{argument(name)} is for file systems, not for images",
                f"add {argument('format', 'rootfs')}",
            )
    if options.from_archive and not format_named(options.format).is_file_system:
        raise UsageError(
            f"{argument('from_archive')} is for file systems; this would only copy the archive",
            f"add {argument('format', 'rootfs')} or {argument('format', 'bundle')}",
        )
    for name in ("lock", "locked", "with_signatures", "with_referrers"):
        if options.from_archive and getattr(options, name):
            raise UsageError(
                f"{argument(name)} needs a registry, and {argument('from_archive')} asks none",
                "drop one of them",
            )
    if len(references) > 1 and format_named(options.format).is_file_system:
        raise UsageError(
            f"{argument('format', options.format)} is the file system of one image, not of "
            f"{len(references)}",
            "save them one by one",
        )
    if options.output and options.tarname:
        raise UsageError(
            f"{argument('output')} and {argument('tarname')} name the archive twice", "choose one"
        )
    if not options.tar and options.output == STDOUT:
        raise UsageError(
            f"{argument('tar')} writes a directory, which cannot go to standard output",
            "use one of them",
        )
    if options.xz and options.zstd:
        raise UsageError(
            f"{argument('xz')} and {argument('zstd')} cannot be combined", "choose one"
        )
    if not options.tar and (options.xz or options.zstd):
        option = argument("xz") if options.xz else argument("zstd")
        raise UsageError(
            f"{argument('tar')} writes no archive that {option} could compress", "choose one"
        )
    if not options.tar and not options.tree:
        raise UsageError(
            "neither an archive nor a directory is to be written", f"add {argument('tree')}"
        )
    for name, value in (("tarname", options.tarname), ("layers_dir", options.layers_dir)):
        if value is not None and ("/" in value or value in _NO_NAMES):
            raise UsageError(
                f"{argument(name)} takes a name without a directory, not {value!r}",
                f"choose the directory with {argument('working_dir')}, or write a path with "
                + argument("output"),
            )
    if options.output is not None and os.path.basename(options.output) in _NO_NAMES:
        path = os.path.join(options.output, references[0].file_stem)
        raise UsageError(
            f"{argument('output', repr(options.output))} names no file",
            f"add the file name: {argument('output', f'{path}.tar')}",
        )
    format_named(options.format).check(options)
