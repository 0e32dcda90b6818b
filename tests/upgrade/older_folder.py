"""Makes `folder-of-0.2.tar.xz`: what release 0.2 leaves on a small consortium's disks. Run it in a checkout of 0.2:

    PYTHONPATH=. python older_folder.py folder-of-0.2.tar.xz

Three hospitals on drawn images. They have finished one run, and are in the middle of a second one. Lisbon has a data
set in custody. The roster is valid for a hundred years, so that the test that opens it goes on.
"""

import sys
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from client.custody.key_ring import Custody
from client.training import hospital_site
from server.consortium import membership
from server.rounds import checkpoint
from server.runs import driver
from tests.consortium.consortium import Consortium
from tests.custody.hospital import folder_of_dicoms, taken_in
from tests.runs.test_runs import Hospitals


class Killed(BaseException):
    """The coordinator is killed."""


def needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """All but what is large and looked at by nobody."""
    is_large = entry.name.endswith((".copy", "report.html")) or ("/first-" in entry.name and (
        "checkpoint" in entry.name or "transcripts/" in entry.name
    ))  # fmt: skip
    entry.uname = entry.gname = ""
    return None if is_large else entry


def main() -> None:
    membership.MOST_DAYS = 36500
    hospital_site.read_once = lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__)
    with tempfile.TemporaryDirectory() as name:
        life = Consortium(Path(name) / "life")
        membership.renew(life.home, 36500, life.roots)
        custody = Custody(life.sites["Lisbon"])
        custody.begin(life.folder / "lisbon.recovery")
        taken_in(custody, folder_of_dicoms(Path(name) / "export"), "radiographs")
        first = life.begun(life.plan("name=first"))
        driver.carry_out(first, Hospitals(life, first.plan))
        assert first.state.stage == "finished", first.state.why
        second = life.begun(life.plan("name=second"))
        save, saves = checkpoint.save, []

        def killed(*arguments: object) -> None:
            save(*arguments)
            saves.append(arguments)
            if len(saves) == 3:
                raise Killed

        checkpoint.save = killed
        with suppress(Killed):
            driver.carry_out(second, Hospitals(life, second.plan))
        second.write_state(replace(second.state, flower_run=7, attempts=1))
        assert second.state.stage == "running", second.state
        with tarfile.open(sys.argv[1], "w:xz") as file:
            file.add(life.folder, "life", filter=needed)


main()
