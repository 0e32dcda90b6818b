"""Fetch a public data set, once, where the configuration gives its checksum; nothing unverified is ever used."""

import hashlib
import os
import tempfile
import urllib.request
from pathlib import Path

from common.cli import terminal
from common.cli.progress import Watch
from common.config import Download
from common.errors import DataError

MAX_BYTES = 64 << 30
_CHUNK = 1 << 20


def fetch(download: Download, path: Path) -> None:
    """Download to `path`: whole and verified, or not at all.

    Raises:
        DataError: no network, no such file, or another checksum.
    """
    by_hand = f"Fetch {download.url} by another way to {path}, or give data.path=/where/it/is."
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        temporary = Path(name)
        # The scheme is https by the configuration's own check; a redirection must not leave it.
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(download.url, timeout=60) as response:  # noqa: S310
            if response.url.partition(":")[0] != download.url.partition(":")[0]:
                raise DataError(f"{download.url} leads to {response.url}, which is not secured; refused. {by_hand}")
            size = int(response.headers.get("Content-Length") or 0)
            digests = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
            with Watch(size, terminal.console(errors=True)) as watch:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    for digest in digests.values():
                        digest.update(chunk)
                    watch.advance(len(chunk), f"downloading {path.name}")
                    if file.tell() > MAX_BYTES:
                        raise DataError(f"{download.url}: more than {MAX_BYTES:,} bytes; refused. {by_hand}")
        for kind, checksum in (("md5", download.md5), ("sha256", download.sha256)):
            if checksum and digests[kind].hexdigest() != checksum:
                raise DataError(
                    f"{download.url}: its {kind} is {digests[kind].hexdigest()}, expected {checksum}; not used. "
                    f"{by_hand}"
                )
        temporary.replace(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not there, and {download.url} cannot be fetched ({error}). {by_hand}") from None
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
