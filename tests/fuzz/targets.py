"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import answers, documents, files, host

TARGETS = {**documents.TARGETS, **answers.TARGETS, **host.TARGETS, **files.TARGETS}
