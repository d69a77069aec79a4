"""Whose signatures a run asks for, and whether they are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..model.reference import Reference
from ..signatures.policy import Policy, requirements
from ..values import dataclass
from .session import Session
from .signers import Signers

if TYPE_CHECKING:
    from .offline import ArchivedImage


@dataclass(frozen=True, slots=True)
class Proof:
    """Who signed an image.

    Args:
        signers: fingerprints of the keys.
        manifests: digests of the manifests that have the signatures.
    """

    signers: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()


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

    def proof(self, session: Session, reference: Reference, digests: Sequence[str]) -> Proof:
        """Check who signed an image.

        Args:
            session: the run's.
            reference: the image.
            digests: of what the reference names, and of what was chosen from that.

        Raises:
            SignatureError: nobody whose signature it needs.
            DockersaveError: signatures cannot be fetched.
        """
        needed = requirements(self._policies, reference)
        if not needed:
            return Proof()
        registry, check = session.registry(reference.registry), session.cancellation.check
        signers = Signers(registry, reference.repository, digests, session.trace, check)
        keys = dict.fromkeys(key.fingerprint for key in signers.find(needed))
        return Proof(tuple(keys), tuple(signers.proofs))

    def proof_in(self, archive: ArchivedImage, digests: Sequence[str]) -> Proof:
        """Check who signed an image in an archive, without a network.

        What it is called there does not matter: whoever wrote the archive chose that.

        Args:
            archive: the image.
            digests: as for `proof`.

        Raises:
            SignatureError: nobody whose signature it needs, or the archive does not have that.
        """
        needed = requirements(self._policies, None)
        signers = archive.signers(digests, needed) if needed else ()
        return Proof(tuple(dict.fromkeys(key.fingerprint for key in signers)))
