"""Whose signatures a run asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ..model.image import Image
from ..model.options import HOST_POLICY, Options
from ..model.reference import Reference
from ..signatures.policy import Policy, requirements
from ..signatures.signed import Requirement
from .session import Session
from .signers import Signers


class Trust:
    """What images need before they are saved.

    Args:
        policies: all of them must be met.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = policies

    @classmethod
    def of(cls, options: Options) -> Trust:
        """What options ask for: the keys, and a policy.

        Raises:
            UsageError: a key or a policy cannot be read or used.
        """
        policies = []
        if options.verify_keys:
            policies.append(Policy.of_keys(options.verify_keys, notes_of(options)))
        if options.policy or os.path.lexists(HOST_POLICY):
            policies.append(Policy.read(options.policy or HOST_POLICY))
        return cls(policies)

    def requirements(self, reference: Reference) -> list[Requirement]:
        """What an image needs; nothing if any image will do.

        Raises:
            SignatureError: a policy refuses it.
            UsageError: a key cannot be read or used.
        """
        return requirements(self._policies, reference)

    def signers(self, session: Session, image: Image) -> tuple[str, ...]:
        """Check who signed an image.

        Args:
            session: the run's.
            image: the image.

        Returns:
            The fingerprints of the keys.

        Raises:
            SignatureError: nobody whose signature it needs.
            DockersaveError: signatures cannot be fetched.
        """
        needed = self.requirements(image.reference)
        if not needed:
            return ()
        reference = image.reference
        registry = session.registry(reference.registry)
        digests = (image.asked, image.root.digest)
        signers = Signers(
            registry, reference.repository, digests, session.trace, session.cancellation.check
        )
        return tuple(dict.fromkeys(key.fingerprint for key in signers.find(needed)))


def notes_of(options: Options) -> Mapping[str, str]:
    """The annotations that options ask for."""
    pairs = (text.partition("=") for text in options.annotations)
    return {name: value for name, _, value in pairs}
