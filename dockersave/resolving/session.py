"""What one run shares: registries, retries, the rate limit and cancellation."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..budget import Budget
from ..cancellation import Cancellation
from ..errors import UsageError
from ..model.options import Network
from ..spelling import argument, spelled_for
from ..trace import SILENT, Trace
from ..transfer.throttle import Throttle

if TYPE_CHECKING:
    from ..registry.client import RegistryClient
    from ..registry.credentials.where_from import Keyring


class Session:
    """One run. A context manager that closes all connections.

    Args:
        network: how to reach registries.
        cancellation: stops the run. `self.cancellation` stops only this run.
        notify: gets lines that the user should see, in the listener's spelling.
        trace: gets a line for each request and decision.
    """

    def __init__(
        self,
        network: Network,
        cancellation: Cancellation,
        notify: Callable[[str], None],
        trace: Trace = SILENT,
    ) -> None:
        from ..registry.document_retry import Retry

        self.network = network
        self.cancellation = cancellation.child()
        self.notify = notify = spelled_for(notify)
        self.trace = trace
        self.retry = Retry(network, self.cancellation, notify, trace)
        self.policy = self.retry.policy
        self.throttle = Throttle(network.limit_rate, self.cancellation, network.most_jobs)
        self.budget = Budget()
        self._keyring: Keyring | None = None
        self._registries: dict[str, RegistryClient] = {}
        self._lock = threading.Lock()

    def registry(self, name: str) -> RegistryClient:
        """The registry with that name, the same object for all its images.

        Args:
            name: as in `Reference.registry`.

        Raises:
            CredentialsError: `network.authfile` cannot be read.
            UsageError: it is a second registry, although a user and a password were given: they are
                for one registry only.
        """
        from ..registry.client import RegistryClient
        from ..registry.credentials.where_from import Keyring

        with self._lock:
            if self._keyring is None:
                self._keyring = Keyring(
                    self.network.authfile, os.environ, self.notify, self.cancellation
                )
            if name not in self._registries:
                if self._registries and self.network.user is not None:
                    raise UsageError(
                        f"{argument('user')} is for one registry, and there are "
                        f"{next(iter(self._registries))} and {name}",
                        "log in to each with docker login or podman login, or give "
                        + argument("authfile"),
                    )
                self._registries[name] = RegistryClient(
                    name,
                    self.network,
                    self.cancellation,
                    self.retry,
                    self.notify,
                    self.trace,
                    self.budget,
                    self._keyring,
                )
            return self._registries[name]

    @property
    def registries(self) -> list[RegistryClient]:
        """The registries used so far."""
        with self._lock:
            return list(self._registries.values())

    def close(self) -> None:
        """Close all connections."""
        for registry in self.registries:
            registry.close()
