"""Answers to questions, as lines for people or as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ..archive.read.listing import Listing
from ..errors import in_one_line
from ..model.platforms import Offer
from ..model.reference import Reference
from ..saving.forecast import Forecast
from ..units import counted, in_bytes


def platforms(reference: Reference, offers: Sequence[Offer], *, as_json: bool) -> Iterator[str]:
    """The platforms of an image.

    Args:
        reference: the reference.
        offers: the available images.
        as_json: one object for the image, instead of one line per platform.
    """
    if as_json:
        images = [
            {
                "platform": str(offer.platform),
                "digest": offer.digest,
                "os_version": offer.os_version,
            }
            for offer in offers
        ]
        yield json.dumps({"reference": str(reference), "images": images})
    else:
        # Each can be passed to --platform unchanged.
        yield from dict.fromkeys(str(offer.platform) for offer in offers)


def listing(found: Listing, *, as_json: bool) -> Iterator[str]:
    """The content of an archive.

    Args:
        found: its content.
        as_json: one object, instead of lines.
    """
    if as_json:
        yield json.dumps(found.to_json())
        return
    for image in found.images:
        name = ", ".join(image.names) or "an image without a name"
        # An index has a digest of its own.
        several = [variant.digest for variant in image.variants] != [image.digest]
        yield f"{name}  {image.digest}" if several else name
        for variant in image.variants:
            layers = f"{counted(len(variant.layers), 'layer')}, {in_bytes(variant.size)}"
            yield "  " + "  ".join(filter(None, (variant.platform, variant.digest, layers)))
            for layer in variant.layers:
                absent = "" if layer.is_here else ", not in the archive"
                yield f"    {layer.digest}  {in_bytes(layer.size)}{absent}"


def outlook(found: Forecast, *, as_json: bool) -> Iterator[str]:
    """The preview of a save.

    Args:
        found: the forecast.
        as_json: one object, instead of lines.
    """
    if as_json:
        yield json.dumps(found.to_json())
        return
    for image in found.images:
        yield f"{image.reference}: {image.digest} for {', '.join(map(str, image.platforms))}"
    for layer in found.layers:
        yield f"  {layer.digest}  {in_bytes(layer.size)}  from {in_one_line(layer.source)}"
    fetched, reused = in_bytes(found.fetched), in_bytes(found.reused)
    yield f"to fetch: {fetched}, to reuse: {reused}"
    size = "the size is known only once the layers are unpacked"
    if found.size is not None:
        size = in_bytes(found.size)
    if found.compression:
        size += f", before it is compressed with {found.compression}"
    for path in found.paths or ("standard output",):
        yield f"to write: {in_one_line(path)}, {size}"
    if found.kept:
        yield f"started earlier: {in_bytes(found.kept)} at most do not need to be fetched again"
    if found.free is not None:
        yield f"free there: {in_bytes(found.free)}"
