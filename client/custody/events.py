"""The seam of custody: what came of an action is told from here, to whoever keeps account of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["begin", "import", "verify", "rotate", "recover", "adopt", "destroy", "list", "show"]


@dataclass(frozen=True)
class Event:
    """One thing that was done, for whoever keeps account of it. It holds no file name and no patient."""

    action: Action
    dataset: str
    """Name and identity, or nothing where it concerns all."""
    outcome: Literal["done", "failed"]
    facts: Mapping[str, int | str] = field(default_factory=dict)


Record = Callable[[Event], None]


def unrecorded(event: Event) -> None:
    """Where nobody keeps account."""
