"""Files that an account keeps under their digest: in ~/.consilium, or in the folder that a variable names."""

import os
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConsiliumError


@dataclass(frozen=True)
class DigestLibrary:
    """The folder of one kind of files.

    Args:
        kind: what they are called, which is the folder's name too.
        suffix: of their names.
        error: what is raised where there is no folder.
    """

    kind: str
    suffix: str
    error: type[ConsiliumError]

    @property
    def variable(self) -> str:
        """Names another folder, for a service without a home folder."""
        return f"CONSILIUM_{self.kind.upper()}"

    def folder(self) -> Path:
        """Where they lie; `error` where this account has no home folder, and the variable names none."""
        try:
            return Path(os.environ.get(self.variable) or f"~/.consilium/{self.kind}").expanduser()
        except RuntimeError:
            raise self.error(f"this account has no home folder for {self.kind}. Name one in {self.variable}.") from None

    def path(self, digest: str) -> Path:
        """Of the file of a digest."""
        return self.folder() / f"{digest}{self.suffix}"

    def digests(self) -> list[str]:
        """Of all files here, sorted."""
        return sorted(path.name.removesuffix(self.suffix) for path in self.folder().glob(f"*{self.suffix}"))
