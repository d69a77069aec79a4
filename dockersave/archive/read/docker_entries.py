"""Parts of the entries of an untrusted `manifest.json` (moby, image/spec/v1.2.md). Pure."""

from __future__ import annotations

from typing import TypeGuard

from ...errors import ContentError, UsageError, shown
from ...model.descriptors import Descriptor
from ...model.reference import Reference


def are_texts(value: object) -> TypeGuard[list[str]]:
    """Whether it is a list of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_foreign(source: object) -> bool:
    """Whether an entry of `LayerSources` describes a foreign layer."""
    kind = source.get("mediaType") if isinstance(source, dict) else None
    return isinstance(kind, str) and Descriptor(kind, "", 0).is_foreign


def checked_name(name: str) -> str:
    """A name with a tag, as Docker shows it.

    Raises:
        ContentError: no engine accepts it.
    """
    try:
        reference = Reference.parse(name)
    except UsageError as failure:
        raise ContentError(f"has a name that no engine accepts: {shown(failure.message)}") from None
    if reference.digest or not name.endswith(f":{reference.tag}"):
        raise ContentError(f"has a name without a tag, which no engine accepts: {shown(name)}")
    return str(reference)
