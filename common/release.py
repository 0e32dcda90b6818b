"""Which code this is: a plan names it, and a site runs nothing else than its own installed code of that digest."""

import hashlib
from functools import lru_cache
from pathlib import Path

VERSION = "0.2.0"
ROOT = Path(__file__).parents[1]
SHIPPED = ("common", "client")
"""What runs at a hospital."""


@lru_cache(maxsize=1)
def code_digest(root: Path = ROOT) -> str:
    """SHA-256 over names and contents of all Python files that run at a site, as 64 hexadecimal digits."""
    sha = hashlib.sha256()
    for path in sorted(file for folder in SHIPPED for file in (root / folder).rglob("*.py")):
        content = path.read_bytes().replace(b"\r\n", b"\n")  # a checkout may have turned the ends of lines
        name = path.relative_to(root).as_posix().encode()
        sha.update(len(name).to_bytes(4, "little") + name + len(content).to_bytes(8, "little") + content)
    return sha.hexdigest()
