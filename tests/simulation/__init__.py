"""Whole runs of the engine on virtual time, each made of nothing but a seed.

    machine    threads, locks and a clock: one thread runs at a time, and a seed says which
    registry   what is fetched, and from whom: lines and servers that fail in every way
    outputs    where bytes go: a disk that outlives its process, layers that are unpacked
    run        one run: its blobs, its faults, perhaps a kill and a second start

`python -m tests.simulation SEED` repeats one and says all that happened; the workers, the ledger,
the throttle, the stream's window and the unpacking are the real ones. The models are the
simulators of FoundationDB and TigerBeetle.
"""

from __future__ import annotations
