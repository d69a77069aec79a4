"""Tests of what `make release` publishes."""

from __future__ import annotations
