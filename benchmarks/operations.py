"""What becomes of a consortium's runs in what happens to it over years: everything moved, renewed, changed, or lost.

    python benchmarks/operations.py [--slower N] [--only NAME …]

Caveats first. One machine, four sites, a tiny network, phantoms. A year is not waited for: rosters and certificates are
made that end within seconds, and a change of roots whose week of notice has passed, by the roots' own signatures; no
clock is touched. Each happens in the middle of a run and is over when two more rounds are completed. Counted are the
completed rounds that are lost, and the sites at which somebody had to do something. A coordinator that is restored from
a backup knows nothing of the rounds after it: they are counted by themselves. `benchmarks/faults.py` kills processes.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.faults import CONFIG, RECOVERY_S, SITES, Ledger, other_bits, over, running, wait_for  # noqa: E402
from client.plans.log_witness import Witness  # noqa: E402
from common.trust import root_change  # noqa: E402
from common.trust.release import VERSION  # noqa: E402
from server.consortium import certificate, membership, publishing, root_key  # noqa: E402
from server.consortium.home import Home  # noqa: E402
from server.processes.process_table import left_running  # noqa: E402
from server.runs.run import Run  # noqa: E402
from server.service.certificate_keeper import CertificateKeeper  # noqa: E402
from tests.admitted import home_of  # noqa: E402
from tests.deployment.federation import free_port  # noqa: E402
from tests.deployment.whole import ended, until  # noqa: E402
from tests.upgrade.test_upgrade import BEFORE, Mixed, commented, other_tree  # noqa: E402

SOON_S = 15.0


class Consortium(Mixed):
    """A coordinator and four sites over the years."""

    roots: tuple[str, ...] = ()
    """What names the roots' keys on a command line."""
    after_backup = 0
    """Rounds that a restored coordinator knows nothing of."""

    def submit(self, *overrides: str) -> str:
        """A plan that the roots of the moment sign."""
        self.server("run", str(self.config), *overrides, "--no-follow", *self.roots)
        return Run.find(Home(self.home)).name

    def restart(self) -> None:
        """End the coordinator in order, and start it again."""
        self.processes["server"].terminate()
        self.processes["server"].wait(120)
        self.start("server")


Operation = Callable[[Consortium, str], tuple[str, ...]]
"""Does it in the middle of the run of that name; the sites at which somebody had to do something."""


def certificate_expires(consortium: Consortium, run: str) -> tuple[str, ...]:
    """A day before its end the keeper makes another, as it does every ten minutes; the gateway takes it up."""
    home = Home(consortium.home)
    certificate.write(home, 1)
    before = certificate.certificate_file(home).read_bytes()
    assert CertificateKeeper(home).turn(time.time()) == ""
    assert certificate.certificate_file(home).read_bytes() != before
    return ()


def moves(consortium: Consortium, run: str) -> tuple[str, ...]:
    """To another address and port."""
    address = f"127.0.0.1:{free_port()}"
    consortium.server("move", "--address", address, *consortium.roots)
    until(lambda: {(consortium.folder / site / "address").read_text("utf-8") for site in SITES} == {address}, 600)
    consortium.restart()
    return ()


def a_year_passes(consortium: Consortium, run: str) -> tuple[str, ...]:
    """The roster is over, so no site makes keys for further rounds, and none is completed; then the roots renew it."""
    with patch.object(membership, "_until", lambda days: int(time.time() + SOON_S)):
        consortium.server("renew", *consortium.roots)
    time.sleep(SOON_S + 1.0)
    assert "has expired" in consortium.server("status")
    rounds, changed_s = -1, time.monotonic()
    while not over(consortium, run) and time.monotonic() - changed_s < 2 * SOON_S:
        if (now := len([record for record in consortium.rounds(run) if not record["void"]])) != rounds:
            rounds, changed_s = now, time.monotonic()
        time.sleep(0.2)
    consortium.server("renew", *consortium.roots)
    return ()


def upgrade(consortium: Consortium, run: str) -> tuple[str, ...]:
    """Site after site, and then the coordinator, from the release before."""
    for name in (*SITES, "server"):
        consortium.move(name, consortium.folder / "after")
    until(lambda: {consortium.release_of(site) for site in SITES} == {VERSION}, 600)
    return ()


def roots_change(consortium: Consortium, run: str) -> tuple[str, ...]:
    """Other roots sign from now on; the old key is gone. A run is to end before: sites audit it under its roots."""
    consortium.wait(run, 1200)
    home, key = Home(consortium.home), consortium.folder / "ana.key"
    root_key.make(key, None)
    draw_up, old = root_change.RootChange.draw_up, home.pins.roots
    noticed_s = root_change.NOTICE_S - SOON_S

    def earlier(pins: Any, new: tuple[bytes, ...], now_s: float) -> root_change.RootChange:
        return draw_up(pins, new, now_s - noticed_s)

    with patch.object(root_change.RootChange, "draw_up", earlier), patch.object(publishing, "NOTICE_S", 0.0):
        consortium.server("root", "rotate", "--to", str(key.with_suffix(".pub")))
        (paper,) = (home.folder / "pending").glob("rotate-*.unsigned")
        consortium._command("server", "server", "cosign", str(paper), "--root", str(key), "--yes")
        consortium.server("take", str(paper))
    until(lambda: home.pins.roots != old, 600)
    (home.folder / "root.key").unlink()
    consortium.roots = ("--root", str(key))
    consortium.server("renew", *consortium.roots)
    version = home.roster.version
    until(lambda: all(home_of(consortium.folder / site).roster.version == version for site in SITES), 600)
    return ()


def is_lost(consortium: Consortium, run: str) -> tuple[str, ...]:
    """The coordinator's machine is gone. Its log has grown since the backup, so every site asks its people."""
    safe, key = consortium.folder / "safe", consortium.folder / "pilot.recovery"
    consortium.server("backup", str(safe), "--recovery", str(key))
    rounds = len(consortium.rounds(run))
    wait_for(lambda: len(consortium.rounds(run)) >= rounds + 2 or over(consortium, run), RECOVERY_S * 4)
    consortium.processes["server"].kill()
    consortium.processes["server"].wait(60)
    rounds = len(consortium.rounds(run))
    for process in left_running(consortium.home / "live" / "log"):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(consortium.home)
    consortium.server("restore", str(safe), "--recovery", str(key))
    consortium.after_backup = rounds - len(consortium.rounds(run))
    consortium.server("renew", *consortium.roots)
    consortium.start("server")
    people = []
    for site in SITES:
        witness = Witness(home_of(consortium.folder / site))
        until(witness.home.witness_refused.exists, 600)
        (size,) = re.findall(r"--at (\d+)", witness.how_to_accept())
        consortium.client(site, "witness", "--accept", consortium.server("audit", "verify", "--at", size).split()[-1])
        people.append(site)
    return tuple(people)


OPERATIONS: dict[str, Operation] = {
    "a certificate expires": certificate_expires,
    "the coordinator moves": moves,
    "a year passes, and the roster": a_year_passes,
    "all are upgraded": upgrade,
    "other roots": roots_change,
    "the coordinator is lost": is_lost,
}
"""In this order: each goes on from what the one before left."""


def measure(folder: Path, config: str, slower: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """All of them, one after the other, with a line each.

    Args:
        slower: so many times as long is waited for everything.
    """
    ledger, people = Ledger(), dict[str, list[str]]()
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    before = other_tree(folder / "before", BEFORE, commented, "common/algorithms/solver.py", "client/training/site.py")
    other_tree(folder / "after", VERSION, commented)
    consortium = Consortium(folder, folder / "config.yaml", SITES, port=free_port())
    consortium.trees = dict.fromkeys(("server", *SITES), before)
    with ended(consortium):
        consortium.found()
        consortium.start()
        consortium.ready()
        run = ""
        for name, operate in OPERATIONS.items():
            if only and name not in only:
                continue
            run = running(consortium, ledger, run, slower)
            ledger.take(consortium, run)
            started = time.monotonic()
            people[name] = list(operate(consortium, run))
            now = len([record for record in consortium.rounds(run) if not record["void"]])
            end = now + 2
            with suppress(TimeoutError):
                wait_for(lambda run=run, end=end: ledger.take(consortium, run) >= end or over(consortium, run),
                         RECOVERY_S * slower)  # fmt: skip
            state = consortium.state(run)
            void = sum(record["void"] for record in consortium.rounds(run))
            print(f"{name:30} {time.monotonic() - started:6.0f} s  void {void}  {state['stage']}  people at: "
                  f"{', '.join(people[name]) or 'no site'}", flush=True)  # fmt: skip
        stage = consortium.wait(run, 600 * slower)
        ledger.take(consortium, run)
        (ledger.finished if stage == "finished" else ledger.ended_otherwise).append(run)
        whys = [consortium.state(name)["why"] for name in ledger.ended_otherwise]
        outcome = {
            "operations": len(people), "completed_rounds_lost": ledger.lost(consortium),
            "rounds_after_the_backup": consortium.after_backup, "sites_that_needed_a_person": people,
            "runs_finished": f"{len(ledger.finished)} of {len(ledger.finished) + len(ledger.ended_otherwise)}",
            "runs_of_other_bits_than_replayed": len(other_bits(consortium, ledger.finished)), "ended_otherwise": whys,
        }  # fmt: skip
    return outcome


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=(), choices=OPERATIONS, metavar="NAME", help="some of them")
    parser.add_argument("--slower", type=int, default=1, metavar="N", help="N times as long: a busy machine")
    options = parser.parse_args()
    config = CONFIG.replace("timeout_s: 12", f"timeout_s: {12 * options.slower}")
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), config, options.slower, options.only)))


if __name__ == "__main__":
    main()
