"""What every judge can do, and what it says about an image."""

from __future__ import annotations

import json
import os
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.trees import Tree, of_folder, of_tar
from tests.processes import program


class Refused(Exception):
    """The engine does not take the archive, or the image; the message is its own."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an engine says about an image.

    Parameters:
        platform: `os/architecture[/variant]`.
        env, cmd, labels: of the config.
        image_id: the config's digest.
        digest: the manifest's digest, where the engine kept the manifest, else None.
    """

    platform: str
    env: tuple[str, ...]
    cmd: tuple[str, ...]
    labels: Mapping[str, str]
    image_id: str
    digest: str | None

    @classmethod
    def of(
        cls, config: Mapping[str, Any], image_id: str, digest: str | None, settings: str = "config"
    ) -> Facts:
        """Read an image's config, or what an engine's `inspect` makes of it.

        Parameters:
            config: the document; the case of its names does not matter.
            image_id: the config's digest, with or without the algorithm.
            digest: the manifest's digest.
            settings: name of the object with the environment and the rest.
        """
        lower = {name.lower(): value for name, value in config.items()}
        inner = lower[settings]
        parts = (lower["os"], lower["architecture"], lower.get("variant"))
        return cls(
            "/".join(part for part in parts if part),
            tuple(inner.get("Env") or ()),
            tuple(inner.get("Cmd") or ()),
            inner.get("Labels") or {},
            image_id if ":" in image_id else f"sha256:{image_id}",
            digest,
        )


class Judge(ABC):
    """An engine with a store of its own that ends with the tests.

    Parameters:
        folder: for its store and whatever else it writes.
    """

    version: tuple[int, ...] = ()
    """The engine's version, where what it can do depends on that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = ExitStack()
        self.start()

    def start(self) -> None:  # noqa: B027 - most engines have nothing to start
        """Start everything needed before the first archive."""

    @abstractmethod
    def load(self, archive: Path) -> list[str]:
        """Load an archive.

        Returns:
            What the engine calls the images: their names, or for an image without one its
            digest, in the engine's way of writing it.

        Raises:
            Refused: the engine does not take the archive.
        """

    @abstractmethod
    def inspect(self, name: str) -> Facts:
        """Describe a loaded image."""

    def file_system(self, name: str) -> AbstractContextManager[Path]:
        """Return a loaded image's file system: a directory, or a tar.

        Raises:
            Refused: the engine cannot make a file system of it.
        """
        raise NotImplementedError

    def export(self, name: str) -> Tree:
        """Return a loaded image's file system.

        Raises:
            Refused: the engine cannot make a file system of it.
        """
        with self.file_system(name) as path:
            return of_folder(path) if path.is_dir() else of_tar(path)

    @abstractmethod
    def forget(self) -> None:
        """Remove everything that was loaded."""

    def load_and_export(self, archive: Path) -> list[tuple[str, Tree]]:
        """Load an archive into the empty store, and return all images with their file systems.

        Raises:
            Refused: the engine does not take the archive, or one of its images.
        """
        self.forget()
        return [(name, self.export(name)) for name in self.load(archive)]

    def close(self) -> None:
        """Stop everything that was started."""
        self.stack.close()

    def run(self, *command: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run an engine's command and return its standard output.

        Raises:
            Refused: it failed; the message is what it printed.
        """
        name, *arguments = map(str, command)
        done = subprocess.run(
            [program(name), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            # In Go, nearly all. They end before it is worth while to collect garbage.
            env={**os.environ, "GOGC": "off", **(env or {})},
            timeout=300,
        )
        if done.returncode:
            said = "".join(done.stdout.splitlines(keepends=True)[-3:]) + done.stderr[-2000:]
            raise Refused(f"{name} {' '.join(arguments)}: {said.strip()}")
        return done.stdout

    def ask_version(self, *command: str | Path) -> tuple[int, ...]:
        """Run an engine's command and return the first two numbers that it printed."""
        return tuple(map(int, re.findall(r"\d+", self.run(*command))[:2]))

    def json(self, *command: str | Path) -> Any:
        """Run an engine's command and return what it printed, parsed."""
        return json.loads(self.run(*command))
