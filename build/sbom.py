"""The list of what is in a binary, for programs that look for known faults in it: SPDX 2.3 as JSON.

Source: The Software Package Data Exchange Specification 2.3, https://spdx.github.io/spdx-spec/v2.3/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

TEXT = "LicenseRef-text-"
"""Begins the name of a licence that is known by its text alone."""


def spdx(binary: Path, name: str, version: str, created: str) -> str:
    """Return the document about a binary.

    Args:
        binary: the binary, beside which its build left `.components.json` (`components.py`).
        name: what it is published as.
        version: this project's.
        created: date and time of the release, as in RFC 3339.

    Raises OSError: one of the two files is not there.
    """
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    listed = json.loads(Path(f"{binary}.components.json").read_text(encoding="utf-8"))
    texts = list(dict.fromkeys(each["text"] for each in listed if not each["expression"]))
    ours, *others = listed
    whole = _package(ours, "SPDXRef-binary", texts) | {
        "packageFileName": name,
        "primaryPackagePurpose": "APPLICATION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
    }
    parts = [
        _package(each, f"SPDXRef-part-{number}", texts) for number, each in enumerate(others, 1)
    ]
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name} {version}",
        # A name, not a place: nobody else's document has it.
        "documentNamespace": f"https://spdx.org/spdxdocs/{name}-{version}-{digest}",
        "creationInfo": {"created": created, "creators": [f"Tool: dockersave-{version}"]},
        "packages": [whole, *parts],
        "hasExtractedLicensingInfos": [
            {"licenseId": f"{TEXT}{number}", "extractedText": text}
            for number, text in enumerate(texts, 1)
        ],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-binary"),
            *(_relationship("SPDXRef-binary", "CONTAINS", part["SPDXID"]) for part in parts),
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _package(component: Mapping[str, str], spdx_id: str, texts: Sequence[str]) -> dict[str, object]:
    licence = component["expression"] or f"{TEXT}{texts.index(component['text']) + 1}"
    place = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": component["purl"],
    }
    return {
        "SPDXID": spdx_id,
        "name": component["name"],
        **({"versionInfo": component["version"]} if component["version"] else {}),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        "externalRefs": [place],
    }


def _relationship(one: str, kind: str, other: object) -> dict[str, object]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
