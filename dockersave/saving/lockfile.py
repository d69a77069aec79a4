"""Lock files: what was resolved, so that others save exactly that, whatever tags mean by then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from ..archive.write.ordered import SequentialFile
from ..errors import ContentError, UsageError, shown
from ..files import content_of
from ..limits import LIMITS
from ..model.digest import is_digest
from ..model.image import Image
from ..model.platforms import ALL_PLATFORMS, Platform
from ..model.reference import Reference
from ..signatures.encodings import json_value
from ..spelling import argument
from ..values import dataclass, replace

_VERSION = 1


@dataclass(frozen=True, slots=True)
class LockedImage:
    """An image as it was resolved.

    Args:
        reference: as requested then.
        digest: of the manifest or index that it named.
        platform: the platform; `all` for the whole index.
        image: the digest of what was saved: of the platform's manifest, or of the index.
        size: of its layers, compressed as served, in bytes.
        signers: fingerprints of the keys with which it was found to be signed.
    """

    reference: Reference
    digest: str
    platform: str
    image: str
    size: int
    signers: tuple[str, ...]

    @classmethod
    def of(cls, image: Image) -> LockedImage:
        """What is to be written of an image."""
        layers = {each.digest: each.size for one in image.artifacts for each in one.manifest.layers}
        return cls(
            image.reference,
            image.asked,
            ALL_PLATFORMS if image.indexes else str(image.primary.config.platform),
            image.root.digest,
            sum(layers.values()),
            image.signers,
        )

    @property
    def pinned(self) -> Reference:
        """The reference with its digest."""
        return replace(self.reference, digest=self.digest)

    def check(self, image: Image) -> None:
        """Check that an image is this one.

        Raises:
            ContentError: it is another one.
        """
        if image.root.digest != self.image:
            raise ContentError(
                f"the lock file says {self.image}, but {image.root.digest} was found",
                "the lock file was changed, or made by another version: make it again",
            )

    def to_json(self) -> dict[str, Any]:
        """As in the file."""
        return {
            "reference": str(self.reference),
            "digest": self.digest,
            "platform": self.platform,
            "image": self.image,
            "size": self.size,
            "signers": list(self.signers),
        }


class Lock:
    """What a lock file says.

    Args:
        images: in the order of the file.
    """

    def __init__(self, images: Sequence[LockedImage]) -> None:
        self._pinned = {image.reference: image.pinned for image in images}
        self._images = {image.pinned: image for image in images}

    @classmethod
    def read(cls, path: str) -> Lock:
        """The lock in a file.

        Raises:
            UsageError: it cannot be read, or is no lock file.
        """
        name = f"the lock file {shown(path)}"
        body = content_of(path, name, LIMITS.lock_file)
        try:
            # Written twice, a member would say something else than what is seen.
            document = json_value(body)
            entries = document["images"] if document["version"] == _VERSION else ()
            images = [_parsed(entry) for entry in entries]
        except (ValueError, TypeError, KeyError):
            images = []
        if not images:
            raise UsageError(
                f"{name} is not one that this version understands",
                f"{argument('lock', 'FILE')} writes one",
            )
        if len({image.reference for image in images}) < len(images):
            raise UsageError(f"{name} names an image twice", "make it again")
        return cls(images)

    def references(self, wanted: Sequence[Reference]) -> list[Reference]:
        """The references of images, with their digests.

        Args:
            wanted: which images; all of them if none are named.

        Raises:
            UsageError: one of them is not in the file.
        """
        for reference in wanted:
            if reference not in self._pinned:
                there = ", ".join(map(str, self._pinned))
                raise UsageError(f"{reference} is not in the lock file", f"it has {shown(there)}")
        return list(dict.fromkeys(self._pinned[each] for each in wanted or self._pinned))

    def __getitem__(self, reference: Reference) -> LockedImage:
        """The image of one of these references."""
        return self._images[reference]


def _parsed(entry: Any) -> LockedImage:
    """An entry of a file; raises `ValueError` or `TypeError` if it is none."""
    digests = (entry["digest"], entry["image"])
    platform, size, signers = entry["platform"], entry["size"], entry["signers"]
    texts = (platform, entry["reference"], *signers)
    if not isinstance(signers, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError
    try:
        reference = Reference.parse(entry["reference"])
        if platform != ALL_PLATFORMS:
            Platform.parse(platform)
    except UsageError as failure:
        raise ValueError from failure
    is_right = all(map(is_digest, digests)) and isinstance(size, int)
    if not is_right or reference.digest not in (None, digests[0]):
        raise ValueError
    return LockedImage(reference, digests[0], platform, digests[1], size, tuple(signers))


def write_lock(path: str, images: Sequence[Image]) -> None:
    """Write a lock file; an older one stays until it is complete.

    Raises:
        OutputError: it cannot be written.
    """
    entries = [LockedImage.of(image).to_json() for image in images]
    text = json.dumps({"version": _VERSION, "images": entries}, indent=1) + "\n"
    with closing(SequentialFile(path)) as file:
        file.open()
        file.write(text.encode())
        file.commit()
