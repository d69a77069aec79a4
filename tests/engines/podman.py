"""podman, with a store of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.judge import Facts, Judge


class Podman(Judge):
    """`podman load`, and the file system from its store."""

    def start(self) -> None:
        """Remember which podman it is."""
        self.version = self.ask_version("podman", "--version")

    def podman(self, *arguments: str | Path) -> str:
        """Run podman on the judge's own store."""
        return self.run(*self._command(), *arguments)

    def _command(self) -> list[str | Path]:
        root, run = self.folder / "root", self.folder / "run"
        places: list[str | Path] = ["podman", "--root", root, "--runroot", run]
        places += ["--tmpdir", self.folder / "tmp"]
        return [*places, "--storage-driver", "vfs", "--events-backend", "none"]

    def load(self, archive: Path) -> list[str]:
        """Load, and return what podman says that it loaded."""
        lines = self.podman("load", "--quiet", "--input", archive).splitlines()
        return [line.partition(": ")[2] for line in lines if line.startswith("Loaded image")]

    def inspect(self, name: str) -> Facts:
        """Ask podman; its digests are those of manifests that it made itself."""
        (document,) = self.json(*self._command(), "image", "inspect", name)
        return Facts.of(document, document["Id"], None)

    @contextmanager
    def file_system(self, name: str) -> Iterator[Path]:
        """Mount the image, until it is removed."""
        yield Path(self.podman("image", "mount", name).strip())

    def forget(self) -> None:
        """Remove all images, mounted ones, too."""
        self.podman("image", "rm", "--all", "--force")

    def close(self) -> None:
        """Leave no mount behind. (A `system reset` would reach beyond the judge's own store.)"""
        self.podman("image", "umount", "--all", "--force")
        super().close()
