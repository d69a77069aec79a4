"""A bundle for OCI runtimes: the file system of an image, and a `config.json` to run it."""

from __future__ import annotations

from .rootfs import RootfsFormat


class BundleFormat(RootfsFormat):
    """OCI runtime specification, bundle.md."""

    suffix = "-bundle"
    root = "rootfs/"


FORMAT = BundleFormat()
