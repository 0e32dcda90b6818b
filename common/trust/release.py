"""Which code this is: a plan names it, and a site runs nothing else than its own installed code of that digest."""

import hashlib
from functools import lru_cache
from pathlib import Path

VERSION = "0.3.0"
ROOT = Path(__file__).parents[2]
SHIPPED = ("common", "client")
"""What runs at a hospital."""


@lru_cache(maxsize=1)
def code_digest(root: Path = ROOT) -> str:
    """SHA-256 over names and contents of all files of what runs at a site, as 64 hexadecimal digits."""
    sha = hashlib.sha256()
    for path in sorted(file for folder in SHIPPED for file in (root / folder).rglob("*") if _counts(file)):
        content = path.read_bytes().replace(b"\r\n", b"\n")  # a checkout may have turned the ends of lines
        name = path.relative_to(root).as_posix().encode()
        sha.update(len(name).to_bytes(4, "little") + name + len(content).to_bytes(8, "little") + content)
    return sha.hexdigest()


def _counts(file: Path) -> bool:
    """Code, and the tables that it goes by; not what Python or an editor leaves beside it."""
    return file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
