"""Building sample images with the standard library: one place for tests, demo and benchmarks.

    content      bytes in memory, in a file, or computed when read
    layers       tar archives with known content, compressed in any way
    documents    manifests, indexes, artifacts
    samples      images by name: GOOD, INDEXES, ODD
    store        what a registry holds, and putting it into a real one

The same arguments give the same bytes, on any day and in any process.
"""

from __future__ import annotations

from tests.images.content import Data, Pattern, chunks, digest_of, read
from tests.images.documents import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Document,
    Flavor,
    Image,
    Index,
    artifact,
    attestation,
    config_document,
    image,
    index,
    schema1,
)
from tests.images.layers import (
    Blob,
    Compression,
    Entry,
    Layer,
    bomb_layer,
    directory,
    empty_layer,
    file,
    foreign,
    hardlink,
    layer,
    opaque,
    random_layer,
    raw_layer,
    symlink,
    whiteout,
)
from tests.images.samples import (
    CMD,
    ENV,
    GOOD,
    INDEXES,
    LABELS,
    ODD,
    PLATFORMS,
    big_image,
    large_config,
    many_layers,
    nested_index,
    sample_image,
    sample_index,
)
from tests.images.store import PushError, Repository, Store, lay_out, push

__all__ = [
    "CMD",
    "DOCKER_CONFIG",
    "DOCKER_INDEX",
    "DOCKER_MANIFEST",
    "ENV",
    "GOOD",
    "INDEXES",
    "LABELS",
    "OCI_CONFIG",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "ODD",
    "PLATFORMS",
    "Blob",
    "Compression",
    "Data",
    "Document",
    "Entry",
    "Flavor",
    "Image",
    "Index",
    "Layer",
    "Pattern",
    "PushError",
    "Repository",
    "Store",
    "artifact",
    "attestation",
    "big_image",
    "bomb_layer",
    "chunks",
    "config_document",
    "digest_of",
    "directory",
    "empty_layer",
    "file",
    "foreign",
    "hardlink",
    "image",
    "index",
    "large_config",
    "lay_out",
    "layer",
    "many_layers",
    "nested_index",
    "opaque",
    "push",
    "random_layer",
    "raw_layer",
    "read",
    "sample_image",
    "sample_index",
    "schema1",
    "symlink",
    "whiteout",
]
