"""The signatures that an image needs, and which were found. Pure: the caller says where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .refusals import Refusals, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from .keys import PublicKey
    from .manifests import Look
    from .signed import Requirement


class Wanted:
    """Which of the required signatures were found, and why others do not count.

    Args:
        needed: what is required.
        say: gets a line about each signature.
    """

    def __init__(
        self, needed: Sequence[Requirement], say: Callable[[str], object] = lambda line: None
    ) -> None:
        self._missing = list(needed)
        self._keys: list[PublicKey] = []
        self._refusals = Refusals()
        self._say = say

    @property
    def is_over(self) -> bool:
        """Whether nothing is missing any more."""
        return not self._missing

    def consider(self, look: Look, digests: Collection[str]) -> bool:
        """Read a signature, and check it.

        Args:
            look: reads it.
            digests: what it may be about.

        Returns:
            Whether it is one of those that were missing.
        """
        why: Refused | None = None
        before = len(self._missing)
        try:
            signed = look()
            for requirement in tuple(self._missing):
                try:
                    self._keys.append(signed.check(digests, requirement))
                except Refused as refused:
                    why = refused
                else:
                    self._missing.remove(requirement)
                    self._say(f"by {self._keys[-1].kind} {self._keys[-1].fingerprint}")
        except Refused as refused:
            why = refused
        if why:
            self._say(f"does not count: {why}")
            self._refusals.add(why)
        return len(self._missing) < before

    def leave(self, seen: int) -> None:
        """Note that there are more signatures than those that were considered."""
        self._refusals.add(Refused("too many", str(seen)))

    def result(self) -> list[PublicKey]:
        """The keys of the signatures that were found.

        Raises:
            SignatureError: some are missing.
        """
        if self._missing:
            keys = {key.fingerprint for each in self._missing for key in each.keys}
            raise self._refusals.error(len(keys))
        return self._keys
