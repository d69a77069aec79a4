"""umoci: unpacks OCI image layouts."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.engines.judge import Facts, Judge, Refused
from tests.engines.skopeo import REF_NAME
from tests.processes import program


class Umoci(Judge):
    """Unpacks the archive itself with tar, and the images in it with `umoci unpack`."""

    def start(self) -> None:
        """Remember nothing yet."""
        self._layouts: dict[str, Path] = {}

    def load(self, archive: Path) -> list[str]:
        """Unpack the layout, and all its images, since umoci reads only what it unpacks."""
        layout = self.folder / f"layout-{len(self._layouts)}"
        layout.mkdir()
        done = subprocess.run(
            [program("tar"), "-xf", archive, "-C", layout], capture_output=True, text=True
        )
        if done.returncode:
            raise Refused(done.stderr)
        listed = self.run("umoci", "list", "--layout", layout).split()
        # Others are tags of what is attached to an image.
        names = [name for name in listed if not name.startswith("sha256-")]
        if not names:
            raise Refused("umoci lists no image")
        for name in names:
            self._layouts[name] = layout
            self._unpack(name)
        return names

    def _bundle(self, name: str) -> Path:
        return self._layouts[name].with_name(f"{self._layouts[name].name}-{name.replace('/', '-')}")

    def _unpack(self, name: str) -> None:
        image = f"{self._layouts[name]}:{name}"
        self.run("umoci", "unpack", "--image", image, self._bundle(name))

    def inspect(self, name: str) -> Facts:
        """Read the layout, whose digests umoci has checked."""
        layout = self._layouts[name]
        digest = next(
            descriptor["digest"]
            for descriptor in _read(layout / "index.json")["manifests"]
            if descriptor["annotations"][REF_NAME] == name
        )
        blobs = layout / "blobs" / "sha256"
        config = _read(blobs / digest.partition(":")[2])["config"]["digest"]
        return Facts.of(_read(blobs / config.partition(":")[2]), config, digest)

    @contextmanager
    def file_system(self, name: str) -> Iterator[Path]:
        """The unpacked root file system."""
        yield self._bundle(name) / "rootfs"

    def forget(self) -> None:
        """Remove everything that was unpacked."""
        for path in self.folder.iterdir():
            shutil.rmtree(path)
        self._layouts.clear()


def _read(path: Path) -> Any:
    return json.loads(path.read_text())
