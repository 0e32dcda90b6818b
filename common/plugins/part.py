"""How a configuration names a part of a plug-in, and a plan the very wheel that it is of."""

import re
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from common.plugins.installed import find_plugin
from common.plugins.notebook_parts import PLUGIN

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Scalar = bool | int | FiniteFloat | str
Setting = Scalar | tuple[Scalar, ...]
"""Of a part, as a configuration writes it; the part's own function says what it takes."""


class Part(BaseModel):
    """A part of a plug-in, written `DISTRIBUTION:NAME`; loading the configuration adds which wheel is installed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plugin: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
    """The distribution's name, as in `pip install NAME`."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
    """Of its entry point."""
    version: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    sha256: Digest | None = None
    """Of the wheel's files as installed; a configuration may leave it out."""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, tree: object) -> object:
        if not isinstance(tree, str):
            return tree
        plugin, colon, name = tree.partition(":")
        if not colon:
            raise ValueError("expected DISTRIBUTION:NAME, for example consilium-example:gamma")
        return {"plugin": re.sub(r"[-_.]+", "-", plugin).lower(), "name": name}

    def __str__(self) -> str:
        return f"{self.plugin}:{self.name}"

    def settled(self) -> Self:
        """The same, with version and digest of what is installed.

        Raises:
            PluginError: it is not installed, or has another digest than is written.
        """
        if self.plugin == PLUGIN and self.sha256:
            return self
        plugin = find_plugin(self.plugin)
        plugin.refuse_other(self.sha256)
        return self.model_copy(update={"version": plugin.version, "sha256": plugin.sha256})
