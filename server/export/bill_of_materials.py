"""What software a model was made with: a bill of materials in CycloneDX 1.6, from the distributions installed here."""

import json
import re
import time
from importlib import metadata
from typing import Any

from common.trust.release import VERSION, code_digest


def bill_of_materials() -> bytes:
    """Every installed distribution with its version, licence and package URL; the same bytes for the same packages but
    for the moment."""
    distributions = {_normal(one.name): one for one in metadata.distributions()}
    components = [_component(name, distributions[name]) for name in sorted(distributions) if name != "consilium"]
    program = {"type": "application", "bom-ref": "consilium", "name": "consilium", "version": VERSION}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "component": program | {"properties": [{"name": "consilium:code", "value": code_digest()}]},
        },
        "components": components,
        "dependencies": [{"ref": "consilium", "dependsOn": [one["bom-ref"] for one in components]}],
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _component(name: str, one: metadata.Distribution) -> dict[str, Any]:
    url = f"pkg:pypi/{name}@{one.version}"
    licences = one.metadata.get_all("License-Expression") or ()
    terms = {"licenses": [{"expression": licence} for licence in licences]} if licences else {}
    return {"type": "library", "bom-ref": url, "name": name, "version": one.version, "purl": url} | terms


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
