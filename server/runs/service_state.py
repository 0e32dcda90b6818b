"""Whether `python -m server start` is at work, and what keeps it from looking after the runs."""

import shutil
import time

from common.cli.progress import duration
from common.storage.files import glance
from server.consortium.home import Home

LEAST_BYTES = 100 * 2**20
"""With less room a disk counts as full."""


def is_service_running(home: Home) -> bool:
    """Whether `server start` is at work: it says so every second."""
    heartbeat = glance(home.live / "keeper.json")
    return bool(heartbeat) and time.time() - heartbeat["at_s"] < 10.0


def describe_service(home: Home) -> str:
    """What is wrong with `server start` itself; empty if nothing."""
    heartbeat, room = glance(home.live / "keeper.json"), shutil.disk_usage(home.folder).free
    if room < LEAST_BYTES:
        return f"The disk of {home.folder} is full ({room / 2**20:.0f} MiB free): make room, and all goes on by itself."
    if not heartbeat:
        return "The coordinator's processes are not running: python -m server start"
    if (late_s := time.time() - heartbeat["at_s"]) >= 10.0:
        return (
            f"The coordinator's processes have said nothing for {duration(late_s)}: they were killed, or the "
            "machine is overloaded. python -m server start, and live/server.jsonl."
        )
    problem = str(heartbeat.get("problem", "")).rstrip(".")
    return f"The runs cannot be looked after: {problem}." if problem else ""
