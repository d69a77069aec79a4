"""Tests of dockersave; they mirror the package."""

from __future__ import annotations
