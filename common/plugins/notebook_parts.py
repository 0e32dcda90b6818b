"""Parts that a notebook or a script defines: of this process alone, with the digest of their source.

They are to try something; no plan can name one, since no other process has it. What is to go further becomes a wheel.
"""

import hashlib
import inspect
from typing import Any

from common.errors import PluginError

PLUGIN = "notebook"
"""Stands in the place of a distribution's name."""
_PARTS: dict[tuple[str, str], tuple[str, Any]] = {}
"""By kind and name: digest of the source, and the object."""


def keep_part(kind: str, name: str, value: Any, source_of: Any) -> str:
    """Keep a part under a name; one of that name is replaced. Its digest.

    Raises:
        PluginError: its source cannot be read, so that nothing could tell it from another.
    """
    try:
        source = inspect.getsource(source_of)
    except (OSError, TypeError) as error:
        raise PluginError(
            "plugin-fails", f"{name}: its source cannot be read ({error}). Write it into a file."
        ) from None
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    _PARTS[kind, name] = sha256, value
    return sha256


def part_of_notebook(kind: str, name: str, sha256: str) -> Any:
    """The part that was kept.

    Raises:
        PluginError: this process has none of that name, or another one now.
    """
    digest, value = _PARTS.get((kind, name), ("", None))
    if digest != sha256:
        raise PluginError(
            "plugin-absent", f"{PLUGIN}:{name} was defined in another process, or is another function now. What others "
            "are to have becomes a wheel: docs/extending.md",
        )  # fmt: skip
    return value
