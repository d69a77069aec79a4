"""Keys and signatures: who vouches for an image. Pure: bytes in, yes or no out.

Everything here handles public data only, so its timing tells nobody anything.
"""

from __future__ import annotations
