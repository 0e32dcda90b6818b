"""Whether a package's publisher is one to believe: the consortium that this site joined, or one compared by telephone.

A publisher that was compared once is remembered in a small file, its fingerprint with its name.
"""

import json
from pathlib import Path

from client.home import SiteFolder
from common.cli.command import confirm_fingerprint
from common.errors import PackageError
from common.package import ModelPackage
from common.storage.files import write_json

PUBLISHERS_FILE = Path("~/.consilium/publishers.json")


def settle(package: ModelPackage, home: Path, digits: str | None, file: Path = PUBLISHERS_FILE) -> str:
    """Why the publisher is trusted, in words.

    Args:
        home: a site's folder, whose pinned roots count; it need not be there.
        given: the fingerprint on the command line.

    Raises:
        PackageError: it is not.
    """
    publisher, path, names = package.content.publisher, _expand(file), set[str]()
    if (home / "pins.json").exists():
        pins = SiteFolder(home).pins
        if (pins.federation, set(pins.roots)) == (publisher.name, set(map(bytes.fromhex, publisher.roots))):
            return f"signed by {publisher.name}, whose roots this site pinned when it joined"
        names = {pins.federation}
    names_by_digits = _read_names(path)
    if digits is None and names_by_digits.get(package.fingerprint) == publisher.name:
        return f"signed by '{publisher.name}', whose fingerprint was compared here before"
    if digits is None and publisher.name in names | set(
        names_by_digits.values()
    ):  # a name that is known is too easily believed
        raise PackageError(
            f"{package.content.name}: says that it is of '{publisher.name}', whom this site knows by other keys. "
            "Somebody else may use that name. Do not use it before the publisher has read out a new fingerprint "
            "(--publisher)."
        )
    if digits is None:
        print(f"Publisher '{publisher.name}'. Its fingerprint:\n\n    {package.fingerprint}\n")
    if not confirm_fingerprint(
        "Have you compared it with the publisher, and is it the same?", package.fingerprint, digits
    ):
        raise PackageError(
            f"{package.content.name}: is not signed by a publisher that is trusted here. It says '{publisher.name}', "
            f"fingerprint {package.fingerprint}: compare that with the publisher by telephone, and give what is read "
            'out as --publisher "…".'
        )
    try:
        write_json(path, names_by_digits | {package.fingerprint: publisher.name})
    except OSError as error:
        return f"signed by '{publisher.name}'; its fingerprint cannot be remembered in {path} ({error.strerror})"
    return f"signed by '{publisher.name}'; its fingerprint is remembered in {path}"


def _expand(file: Path) -> Path:
    try:
        return file.expanduser()
    except RuntimeError:
        raise PackageError(f"{file}: this user has no home folder. Name another file with --trusted.") from None


def _read_names(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(digits): str(name) for digits, name in content.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, AttributeError):
        raise PackageError(f"{path}: expected fingerprints as this program writes them. Remove it; compare again.") \
            from None  # fmt: skip
