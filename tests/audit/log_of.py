"""A log with some entries, and the entries of RFC 6962's known trees."""

from pathlib import Path

from common.audit.log import Log

KNOWN = [bytes.fromhex(entry) for entry in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
)]  # fmt: skip
"""The entries that Certificate Transparency's own tests have been using since 2012."""


def log_of(folder: Path, entries: int = 5, origin: str = "site lisbon") -> Log:
    """A log of some rounds."""
    log = Log(folder / "audit", origin, "operator")
    for number in range(entries):
        log.record("round answered", plan="chest-1a2b", dataset="chest", facts={"round": number, "kind": "train"})
    return log
