"""The packages that this machine has for trainings to begin from: files under their digest, in an account's folder.

The folder is `~/.consilium/packages`, or the one that CONSILIUM_PACKAGES names (for a service without a home folder).
"""

from functools import lru_cache
from pathlib import Path

from common.errors import PackageError
from common.package.package_file import SUFFIX, ModelPackage, read_package
from common.storage.digest_library import DigestLibrary
from common.storage.tensorfile import write_atomically

TRUST = (
    "Whoever made a package decides at which weights a training's first sum is asked: crafted ones can make a sum over "
    "all hospitals show one patient's image. Take it from whom you trust, and compare the digest with theirs."
)
"""What people have to know before they keep one for a training, or approve a plan that begins from it."""
HOW = (
    "Take it from who gave it to the consortium, or from the catalogue, and keep it here: "
    "python -m client packages add FILE."
)


_LIBRARY = DigestLibrary("packages", SUFFIX, PackageError)
VARIABLE, folder, digests = _LIBRARY.variable, _LIBRARY.folder, _LIBRARY.digests


def add(package: ModelPackage, file: bytes) -> Path:
    """Keep a package, whose publisher is trusted here, under its digest; adding it again changes nothing."""
    path = _LIBRARY.path(package.digest)
    write_atomically(path, file)
    return path


def load(digest: str) -> ModelPackage:
    """The package of a digest, with every check of a package.

    Raises:
        PackageError: it is not here, or its file was changed.
    """
    path = _LIBRARY.path(digest)
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError:
        raise PackageError(f"the package {digest} is not on this machine. {HOW}") from None
    return _load(path, digest, changed_ns)


@lru_cache(maxsize=4)
def _load(path: Path, digest: str, changed_ns: int) -> ModelPackage:
    package = read_package(path)
    if package.digest != digest:
        raise PackageError(f"{path}: is the package {package.digest}. Remove the file, and add the right one anew.")
    return package
