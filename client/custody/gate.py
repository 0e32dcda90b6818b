"""The seams of custody: who may give a command is asked here, and what came of it is told from here."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from client.home import Home
from common.errors import ConfigError

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


def demand(home: Home, action: Action) -> None:
    """Let an action begin. The site's folder belongs to who may do all of them.

    Raises:
        ConfigError: it belongs to somebody else.
    """
    if home.folder.exists() and (owner := home.folder.stat().st_uid) != os.geteuid():
        raise ConfigError(
            f"{home.folder}: belongs to user {owner}, and this is user {os.geteuid()}, who may not {action} there. Run "
            "it as the owner, so that the site can read what comes of it."
        )
