"""Which files a call writes, and which options contradict one another. Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import UsageError
from .options import Options
from .reference import Reference

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the output goes.

    Args:
        archive: the archive's path, `-` for standard output, or None for none.
        tree: the directory's path, or None for none.
        working_dir: where temporary files without a name may lie.
    """

    archive: str | None
    tree: str | None
    working_dir: str

    @property
    def is_stream(self) -> bool:
        """Whether the archive goes to standard output."""
        return self.archive == STDOUT

    @classmethod
    def of(cls, options: Options, references: Sequence[Reference]) -> Destination:
        """Decide.

        Raises:
            UsageError: the options contradict one another.
        """
        _check(options, references)
        stem = references[0].file_stem
        tree = None
        if options.tree:
            tree = os.path.join(options.working_dir, options.layers_dir or _stem(options, stem))
        if not options.tar:
            return cls(None, tree, options.working_dir)
        if options.output == STDOUT:
            return cls(STDOUT, tree, options.working_dir)
        name = options.output or options.tarname or stem + (".tar.xz" if options.xz else ".tar")
        archive = os.path.join(options.working_dir, name)
        if tree is not None and os.path.normpath(archive) == os.path.normpath(tree):
            raise UsageError(
                f"archive and directory would both be {archive}", "name the directory: --layers-dir"
            )
        return cls(archive, tree, os.path.dirname(archive))


def _stem(options: Options, stem: str) -> str:
    name = os.path.basename(options.output or options.tarname or stem)
    return name.removesuffix(".xz").removesuffix(".tar") if name != STDOUT else stem


def _check(options: Options, references: Sequence[Reference]) -> None:
    named = options.output or options.tarname
    if not references:
        raise UsageError("no image was named", "dockersave debian")
    if len(references) > 1 and not named:
        raise UsageError(
            f"{len(references)} images need a name for the archive",
            "add -o bundle.tar",
        )
    if options.output and options.tarname:
        raise UsageError("--output and --tarname name the archive twice", "give only one of them")
    if not options.tar and options.output == STDOUT:
        raise UsageError("--no-tar writes a directory, and that cannot go to standard output")
    if not options.tar and options.xz:
        raise UsageError("--no-tar writes no archive that --xz could compress")
    if not options.tar and not options.tree:
        raise UsageError("neither archive nor directory is to be written")
    for option, value in (("--tarname", options.tarname), ("--layers-dir", options.layers_dir)):
        if value is not None and (not value or "/" in value or value in (".", "..")):
            raise UsageError(
                f"{option} is a name in the working directory, and {value!r} is not",
                "choose the directory with --working-dir, or write a path with --output",
            )
    if options.output is not None and (not options.output or options.output.endswith("/")):
        raise UsageError(f"--output {options.output!r} names no file")
    if options.format == "legacy" and options.platform == "all":
        raise UsageError(
            "the legacy format holds one platform", "choose --format oci, or one --platform"
        )
