"""Which name a signature must be for: `signedIdentity` of containers' policies. Pure.

Source: containers/image, docs/containers-policy.json.5.md, "signedBy" (signedIdentity).
"""

from __future__ import annotations

from ..errors import UsageError
from ..model.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Identity = Callable[[str], bool]


def identity_of(rule: object, reference: Reference | None) -> Identity | None:
    """What decides whether the name in a signature is right.

    Args:
        rule: `signedIdentity`; None if there is none.
        reference: the image; None for one in an archive, which has no name to compare.

    Returns:
        None if the rule is not supported.
    """
    if rule is None:
        rule = {"type": "matchRepoDigestOrExact"}
    if not isinstance(rule, dict):
        return None
    more = {key: value for key, value in rule.items() if key != "type"}
    match (rule.get("type"), list(more), list(more.values())):
        case "matchRepoDigestOrExact", [], _ if reference:
            return _exact(reference) if reference.tag else _same_repository(reference)
        case "matchExact", [], _ if reference:
            return _exact(reference)
        case "matchRepository", [], _ if reference:
            return _same_repository(reference)
        case "exactReference", ["dockerReference"], [str(name)]:
            found = _named(name)
            return _exact(found) if found else None
        case "exactRepository", ["dockerRepository"], [str(name)]:
            found = _named(name)
            return _same_repository(found) if found else None
    return None


def _exact(reference: Reference) -> Identity:
    def is_right(name: str) -> bool:
        found = _named(name)
        # A name without a tag is of no image in particular.
        is_tagged = ":" in name.rpartition("/")[2].partition("@")[0]
        return (
            found is not None
            and is_tagged
            and (found.name, found.tag) == (reference.name, reference.tag)
        )

    return is_right


def _same_repository(reference: Reference) -> Identity:
    def is_right(name: str) -> bool:
        found = _named(name)
        return found is not None and found.name == reference.name

    return is_right


def _named(name: str) -> Reference | None:
    try:
        return Reference.parse(name)
    except UsageError:
        return None
