"""The coordinator's ServerApp: what Flower's SuperExec starts for a run of `python -m server run`.

It finds the run in the coordinator's folder, and carries out what is left of it (server/runs/driver.py) over the grid
that Flower hands it. How it ended stands in the run's folder.
"""

import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.cli import logs
from common.errors import ConfigError
from common.storage.files import glance, read_json
from server.consortium.home import Home
from server.evaluation.evaluate import evaluate
from server.runs.driver import carry_out, train
from server.runs.run import Run
from server.runs.site_reports import SiteReports
from server.superlink.flower_transport import FlowerTransport
from server.superlink.notify import of_run
from server.superlink.store import MessageStore
from server.superlink.store_grid import StoreGrid

log = logging.getLogger("consilium")

app = ServerApp()
"""What the SuperExec starts. Run-config: `home`, the coordinator's folder; `plan`, the digest of a plan in it."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A run, or the rest of it: goes on from the checkpoint there is."""
    config = context.run_config
    if not (config.get("home") and config.get("plan")):
        raise ConfigError("run-config: expected home and plan; `python -m server run PLAN` gives both.")
    home = Home(Path(str(config["home"])))
    run = Run.find(home, str(config["plan"]))
    with run.lock.hold():
        logs.begin(run.folder / "log.jsonl")  # what a ServerApp prints, Flower throws away
        ids = read_json(home.live / "nodes.json") or {}
        if missing := [site for site in run.state.cohort if site not in ids]:
            run.end("failed", f"{', '.join(missing)}: no member any more. Submit the plan again, without.")
            return
        nodes = {site: int(ids[site]) for site in run.state.cohort}
        store = MessageStore(home.live / "flower" / "state.db")
        direct = StoreGrid(store, cast(Any, grid).run, lambda: fast_nodes(home, nodes))
        transport = FlowerTransport(
            direct, nodes, run.plan.digest, on_progress=run.write_progress, signals=home.live / "bells",
            is_unready=partial(SiteReports(home).is_unready, run.plan.digest), share=partial(share_of, home, run.name),
        )  # fmt: skip
        try:
            carry_out(run, transport, evaluate if run.plan.content.models else train)
        except Exception:  # the scheduler begins the run again; why it has to is for people to read
            log.exception("run %s: a defect, or the SuperLink went away", run.name)
            raise
        finally:
            (home.live / "bells" / of_run(direct.run.run_id)).unlink(missing_ok=True)


def share_of(home: Home, run: str) -> int:
    """How many runs the busiest of a run's sites answers at once, as the scheduler last wrote."""
    return int(((glance(home.live / "turns.json") or {}).get("shares") or {}).get(run, 1))


def fast_nodes(home: Home, nodes: Mapping[str, int]) -> set[int]:
    """Nodes of the sites that took their last message from the gateway, by its fast path."""
    contacts = glance(home.live / "heard.json") or {}
    return {node for site, node in nodes.items() if contacts.get(site, {}).get("short")}
