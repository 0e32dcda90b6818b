"""Several roots in folders of their own, and a coordinator that has none of them: files are carried by hand."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from server import __main__ as coordinator
from server.consortium.home import Home
from server.consortium.root_key import PASSPHRASE_FILE

PASSPHRASE = "correct horse battery staple"  # noqa: S105 protects nothing


@dataclass
class Roots:
    """People with a root key each, and the coordinator."""

    folder: Path
    names: tuple[str, ...]
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.names:
            self.make(name)

    @property
    def home(self) -> Home:
        return Home(self.folder / "consortium")

    def passphrase(self, text: str) -> None:
        (self.folder / "passphrase").write_text(text + "\n", encoding="utf-8")
        self.monkeypatch.setenv(PASSPHRASE_FILE, str(self.folder / "passphrase"))

    def make(self, name: str) -> None:
        self.passphrase(f"{PASSPHRASE} {name}")
        (self.folder / name).mkdir()
        assert coordinator.main(["root", "new", str(self.folder / name / name)]) == 0

    def public(self, *names: str) -> str:
        return ",".join(str(self.folder / name / f"{name}.pub") for name in names or self.names)

    def server(self, *arguments: str | Path) -> int:
        """A command at the coordinator."""
        return coordinator.main([*map(str, arguments), "--home", str(self.home.folder)])

    def waiting(self, name: str) -> Path:
        return self.home.folder / "pending" / f"{name}.unsigned"

    def cosign(self, who: str, paper: str, passphrase: str = "") -> int:
        """Carry a paper to one root's machine, and sign it there."""
        self.passphrase(passphrase or f"{PASSPHRASE} {who}")
        there = self.folder / who / f"{paper}.unsigned"
        shutil.copy(self.waiting(paper), there)
        return coordinator.main(["cosign", str(there), "--root", str(self.folder / who / f"{who}.key"), "--yes"])

    def take(self, who: str, paper: str) -> int:
        """Carry it back."""
        return self.server("take", self.folder / who / f"{paper}.unsigned")

    def all_sign(self, paper: str, *names: str) -> None:
        """One after the other."""
        for who in names or self.names:
            assert self.cosign(who, paper) == 0
            assert self.take(who, paper) == 0

    def begun(self) -> "Roots":
        """With a consortium whose first roster all have signed."""
        assert self.server("init", "pilot", "--address", "127.0.0.1:8443", "--roots", self.public()) == 0
        self.all_sign("first-roster")
        return self
