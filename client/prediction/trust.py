"""Whether a package's publisher is one to believe: the consortium that this site joined, or one compared by telephone.

A publisher that was compared once is remembered in a small file, its fingerprint with its name.
"""

import json
from pathlib import Path

from client.home import Home
from common.cli.command import confirm_fingerprint
from common.errors import PackageError
from common.package import ModelPackage
from common.storage.files import write_json

REMEMBERED = Path("~/.consilium/publishers.json")


def settle(shared: ModelPackage, home: Path, given: str | None, remembered: Path = REMEMBERED) -> str:
    """Why the publisher is trusted, in words.

    Args:
        home: a site's folder, whose pinned roots count; it need not be there.
        given: the fingerprint on the command line.

    Raises:
        PackageError: it is not.
    """
    told, path, names = shared.content.publisher, _found(remembered), set[str]()
    if (home / "pins.json").exists():
        pins = Home(home).pins
        if (pins.federation, set(pins.roots)) == (told.name, set(map(bytes.fromhex, told.roots))):
            return f"signed by {told.name}, whose roots this site pinned when it joined"
        names = {pins.federation}
    known = _known(path)
    if given is None and known.get(shared.fingerprint) == told.name:
        return f"signed by '{told.name}', whose fingerprint was compared here before"
    if given is None and told.name in names | set(known.values()):  # a name that is known is too easily believed
        raise PackageError(
            f"{shared.content.name}: says that it is of '{told.name}', whom this site knows by other keys. Somebody "
            "else may use that name. Do not use it before the publisher has read out a new fingerprint (--publisher)."
        )
    if given is None:
        print(f"Publisher '{told.name}'. Its fingerprint:\n\n    {shared.fingerprint}\n")
    if not confirm_fingerprint(
        "Have you compared it with the publisher, and is it the same?", shared.fingerprint, given
    ):
        raise PackageError(
            f"{shared.content.name}: is not signed by a publisher that is trusted here. It says '{told.name}', "
            f"fingerprint {shared.fingerprint}: compare that with the publisher by telephone, and give what is read "
            'out as --publisher "…".'
        )
    try:
        write_json(path, known | {shared.fingerprint: told.name})
    except OSError as error:
        return f"signed by '{told.name}'; its fingerprint cannot be remembered in {path} ({error.strerror})"
    return f"signed by '{told.name}'; its fingerprint is remembered in {path}"


def _found(remembered: Path) -> Path:
    try:
        return remembered.expanduser()
    except RuntimeError:
        raise PackageError(f"{remembered}: this user has no home folder. Name another file with --trusted.") from None


def _known(path: Path) -> dict[str, str]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {str(digits): str(name) for digits, name in told.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, AttributeError):
        raise PackageError(f"{path}: expected fingerprints as this program writes them. Remove it, and compare anew.") \
            from None  # fmt: skip
