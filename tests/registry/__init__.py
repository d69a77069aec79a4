"""Registries for tests: the simulator that misbehaves on purpose, and real ones."""

from __future__ import annotations
