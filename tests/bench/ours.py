"""What `floor` does, done by dockersave: one save in this process, start-up not counted.

python -m tests.bench.ours HOST:PORT REPOSITORY OUTPUT [CA_FILE]
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

import dockersave.registry.client  # noqa: F401  loaded before the clock starts
from dockersave.model.options import Network
from dockersave.saving.save import save


def main() -> None:
    """Save, and print wall and CPU seconds as JSON."""
    host, repository, output = sys.argv[1:4]
    network = Network(insecure=len(sys.argv) == 4)
    if len(sys.argv) > 4:
        # Instead of the host's hundred and more authorities: the floor does not load them either.
        os.environ["SSL_CERT_FILE"] = sys.argv[4]
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    save(f"{host}/{repository}", output=output, network=network)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": time.perf_counter() - begun, "cpu": cpu}))


if __name__ == "__main__":
    main()
