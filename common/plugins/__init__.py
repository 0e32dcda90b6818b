"""Parts of a run that others write: preprocessing steps, networks, strategies and metrics of an installed wheel.

    part         `DISTRIBUTION:NAME` as a configuration names it, with version and digest as a plan does
    installed    which wheel is installed here, the digest of its files, and the part that it offers
    notebook_parts  functions that a notebook defines, to try them

A wheel offers parts by the entry points of `KINDS`. It is imported only where a configuration names it, or a plan that
this site approved; nothing is ever shipped. docs/extending.md
"""

from common.plugins.installed import (
    KINDS,
    InstalledPlugin,
    PartKind,
    checked_settings,
    find_plugin,
    load_part,
    offered_parts,
    run_part,
)
from common.plugins.part import Part, Setting

__all__ = [
    "KINDS",
    "InstalledPlugin",
    "Part",
    "PartKind",
    "Setting",
    "checked_settings",
    "find_plugin",
    "load_part",
    "offered_parts",
    "run_part",
]
