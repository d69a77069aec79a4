"""skopeo: reads an archive as `docker-archive:` or as `oci-archive:`, keeps nothing itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.engines.judge import Facts, Judge
from tests.engines.trees import Tree, of_layers

REF_NAME = "org.opencontainers.image.ref.name"


class Skopeo(Judge):
    """Copies each image of an archive into a directory, which checks every digest.

    Attributes:
        transport: what the archive is read as.
    """

    transport: str

    def start(self) -> None:
        """Remember nothing yet, but which skopeo it is."""
        self.version = self.ask_version("skopeo", "--version")
        self._images: dict[str, tuple[Path, str]] = {}

    def load(self, archive: Path) -> list[str]:
        """Copy every image of the archive."""
        names = {}
        for name, source in self.sources(archive).items():
            target = self.folder / f"image-{len(self._images)}"
            where = f"{self.transport}:{source}"
            self.run("skopeo", "copy", "--quiet", "--dest-decompress", where, f"dir:{target}")
            raw = self.run("skopeo", "inspect", "--format", "{{.Digest}}", where)
            names[name] = (target, raw.strip())
            self._images |= names
        return list(names)

    def sources(self, archive: Path) -> dict[str, str]:
        """Return what the images are called and how skopeo is told which one is meant."""
        raise NotImplementedError

    def inspect(self, name: str) -> Facts:
        """Read the copied config."""
        folder, digest = self._images[name]
        config = _manifest(folder)["config"]["digest"]
        document = json.loads((folder / config.partition(":")[2]).read_text())
        return Facts.of(document, config, digest)

    def export(self, name: str) -> Tree:
        """Put the copied layers on top of one another."""
        folder, _ = self._images[name]
        layers = _manifest(folder)["layers"]
        return of_layers(folder / layer["digest"].partition(":")[2] for layer in layers)

    def forget(self) -> None:
        """Remove the copies."""
        for folder, _ in self._images.values():
            shutil.rmtree(folder)
        self._images.clear()


class SkopeoDocker(Skopeo):
    """skopeo, reading `docker-archive:`."""

    transport = "docker-archive"

    def sources(self, archive: Path) -> dict[str, str]:
        """Return the names that skopeo lists; an image without one by its position."""
        tags = self.json("skopeo", "list-tags", f"docker-archive:{archive}")["Tags"]
        return {tag: f"{archive}:{tag}" for tag in tags or ()} or {"@0": f"{archive}:@0"}

    def inspect(self, name: str) -> Facts:
        """Read the copied config; the manifest is one that skopeo makes up."""
        facts = super().inspect(name)
        return Facts(
            facts.platform, facts.env, facts.cmd, facts.labels, facts.image_id, digest=None
        )


class SkopeoOci(Skopeo):
    """skopeo, reading `oci-archive:`."""

    transport = "oci-archive"

    def sources(self, archive: Path) -> dict[str, str]:
        """Return the index's reference names, and how each image is found.

        Skopeo looks for names only among descriptors of the OCI's media types; a lone image it
        finds without being told a name.
        """
        descriptors = self.json("tar", "-xOf", archive, "index.json")["manifests"]
        found = {}
        for descriptor in descriptors:
            name = descriptor.get("annotations", {}).get(REF_NAME, "")
            if name.startswith("sha256-"):
                continue  # attached to an image
            by_name = name if "vnd.oci" in descriptor["mediaType"] else ""
            found[name or "@"] = f"{archive}:{by_name}"
        return found


def _manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())
