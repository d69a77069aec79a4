"""Whose signatures a run asks for, and whether they are there."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.reference import Reference
from ..signatures.policy import Policy, requirements
from .session import Session
from .signers import Signers


class Trust:
    """What images need before they are saved.

    Args:
        policies: all of them must be met.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = policies

    def check(self, reference: Reference) -> None:
        """Check, without asking anybody, that an image may be used at all.

        Raises:
            SignatureError: a policy refuses it.
            UsageError: a key cannot be read or used.
        """
        requirements(self._policies, reference)

    def signers(
        self, session: Session, reference: Reference, digests: Sequence[str]
    ) -> tuple[str, ...]:
        """Check who signed an image.

        Args:
            session: the run's.
            reference: the image.
            digests: of what the reference names, and of what was chosen from that.

        Returns:
            The fingerprints of the keys.

        Raises:
            SignatureError: nobody whose signature it needs.
            DockersaveError: signatures cannot be fetched.
        """
        needed = requirements(self._policies, reference)
        if not needed:
            return ()
        registry, check = session.registry(reference.registry), session.cancellation.check
        signers = Signers(registry, reference.repository, digests, session.trace, check)
        return tuple(dict.fromkeys(key.fingerprint for key in signers.find(needed)))
