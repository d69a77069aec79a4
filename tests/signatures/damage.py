"""Damage what cosign made, and count what counts all the same: `python -m tests.signatures.damage`.

It prints a line, and fails if a damaged signature was accepted, or if anything crashed.
"""

from __future__ import annotations

import random
import sys
import time

from dockersave.signatures.refusals import Refused
from tests.signatures import recorded
from tests.signatures.test_signed import MADE, PROD, damaged, reading, required, says_the_same


def main(count: int, seed: int) -> int:
    """Try `count` of them."""
    rng, begun, wrong, same = random.Random(seed), time.monotonic(), 0, 0
    needed = {kind: required(recorded.key(kind), PROD) for kind, *_ in MADE}
    for _ in range(count):
        kind, form, digest, body, text = rng.choice(MADE)
        now, mark = damaged(rng, body, text)
        try:
            reading(form, now, mark).check([digest], needed[kind])
        except Refused:
            continue
        if says_the_same(form, (now, mark), (body, text)):
            same += 1
        else:
            wrong += 1
    print(
        f"{count} damaged, {wrong} accepted; {same} were damaged only where nothing was signed; "
        f"{time.monotonic() - begun:.0f} s, seed {seed}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) if sys.argv[2:] else main(100_000, 1))
