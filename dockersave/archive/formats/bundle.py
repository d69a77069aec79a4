"""A bundle for OCI runtimes: the file system of an image, and a `config.json` to run it."""

from __future__ import annotations

from ...errors import UsageError
from ...model.options import Options
from ...spelling import argument
from .rootfs import RootfsFormat


class BundleFormat(RootfsFormat):
    """OCI runtime specification, bundle.md."""

    suffix = "-bundle"
    root = "rootfs/"

    def check(self, options: Options) -> None:
        """A part of a file system cannot be run."""
        super().check(options)
        if options.only:
            raise UsageError(
                f"{argument('only')} leaves out what a container needs",
                f"choose {argument('format', 'rootfs')}",
            )


FORMAT = BundleFormat()
