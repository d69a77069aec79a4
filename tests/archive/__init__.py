"""Tests of `dockersave.archive`.

shelf        images without a registry
writing      tar files as anybody might write them
"""

from __future__ import annotations
