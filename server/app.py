"""The coordinator's edge to Flower: the round loop's transport over a Flower grid, and the ServerApp.

FlowerTransport  requests to nodes, replies from them; only bytes of common/messages/wire.py travel
app              what Flower's SuperExec starts for a run of `python -m server run`
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.superlink.grid import http_grid
from flwr.superlink.grid.http_grid import HttpGrid

from common.cli import logs
from common.errors import ConfigError, WireError
from common.messages import wire
from common.messages.transport import NONE, Misfortunes, Reply, Request
from common.storage import tensorfile
from common.storage.files import glance, read_json
from common.types import Tensors
from server.consortium.home import Home
from server.evaluation.evaluate import examine
from server.gateway.site_api import FolderBoard
from server.runs.driver import conduct, train
from server.runs.run import Asking, Run
from server.superlink.notify import COORDINATOR, Bell
from server.superlink.store import Store, StoreGrid

log = logging.getLogger("consilium")

POLL_S = 0.02
"""Flower's own `send_and_receive` waits 3 s between two looks."""
BELL_S, LOOKS = 0.004, 125
"""How often it is looked whether the bell has rung, and after how many times for messages nevertheless."""
SMALL_BYTES = 2**20
AT_ONCE = 8
"""Replies that are fetched at a time: Flower hands over whole all that it is asked for."""
GRACE_S = 60.0
"""How much longer than the time-out a message may live on its way."""
REFUSED = 100
"""The code of an error that our ClientApp says, and not Flower."""

# A reply is announced before its content has arrived. Flower's grid would look for the content again after a second.
http_grid.pull_objects = partial(pull_objects, initial_backoff=0.02, backoff_cap=0.5)  # type: ignore[attr-defined]


class FlowerTransport:
    """The sites behind a Flower grid. A node's error is logged with its reason, and is silence to the round loop.

    Args:
        grid: as Flower hands it to a ServerApp.
        nodes: the sites' nodes, by name.
        plan: digest of the plan that all messages are of; simulated sites need none.
        unready: whether a site is not to be asked yet.
        bells: a folder with a bell for each site and one for the coordinator; none: all ask now and then.
        misfortunes: what a simulation adds.
        stop: once it is set, waiting ends in KeyboardInterrupt.
        look: is told whenever an exchange begins, goes on, or ends.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Mapping[str, int],
        plan: str = "",
        misfortunes: Misfortunes = NONE,
        stop: threading.Event | None = None,
        look: Callable[[Asking], None] = lambda _: None,
        bells: Path | None = None,
        unready: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._grid, self._nodes, self._plan = grid, dict(sorted(nodes.items())), plan
        self._misfortunes, self._stop, self._look = misfortunes, stop or threading.Event(), look
        self._bells, self._unready = bells, unready
        self.states: dict[str, Tensors] = {}
        """What simulated sites keep, for the checkpoint; real sites keep their own and never send it."""
        self._known: dict[str, Tensors] = {}
        """The state that each simulated site has, as far as it was sent or received."""

    def sites(self) -> tuple[str, ...]:
        """Names of all sites, sorted."""
        return tuple(self._nodes)

    def online(self) -> tuple[str, ...]:
        """Sites whose nodes are connected, and whose images are read."""
        there = set(self._grid.get_node_ids())
        return tuple(site for site, node in self._nodes.items() if node in there and not self._unready(site))

    def exchange(self, requests: Mapping[str, Request], timeout_s: float) -> Iterator[tuple[str, Reply]]:
        """Send each site its request, all of one round; what came in time, site and reply, as it comes."""
        reached = {site: r for site, r in requests.items() if not self._misfortunes.away(site, r.round)}
        # One record for all that are asked the same: Flower then stores its pieces once.
        messages = {
            key: _packed(wire.encode_request(r), self._plan) for key, r in {id(r): r for r in reached.values()}.items()
        }
        contents = {
            site: RecordDict({**messages[id(request)], **self._state_for(site)}) for site, request in reached.items()
        }
        for site, content in self._answers(contents, reached, timeout_s):
            try:
                reply = wire.decode_reply(_unpacked(content))
                if "state" in content:
                    self.states[site] = self._known[site] = tensorfile.unpack(_bytes(content, "state"))[0]
            except WireError as error:
                log.warning("site %s: a reply that cannot be used: %s", site, error)
                continue
            if not self._misfortunes.silent(site, reached[site].round):
                yield site, reply

    def _state_for(self, site: str) -> dict[str, ArrayRecord]:
        """After a resume, the next message to a simulated site brings back what it had kept."""
        state = self.states.get(site)
        if not state or state is self._known.get(site):
            return {}
        self._known[site] = state
        return {"state": _record(tensorfile.pack(state, {}))}

    def _answers(
        self, contents: Mapping[str, RecordDict], requests: Mapping[str, Request], timeout_s: float
    ) -> Iterator[tuple[str, RecordDict]]:
        """What comes back in time, as it comes."""
        if not contents:
            return
        asked = next(iter(requests.values()))
        names, started_s = {node: site for site, node in self._nodes.items()}, time.time()
        standing = Asking(asked.kind, asked.round, tuple(sorted(contents)), started_s, started_s + timeout_s)
        self._look(standing)
        asking = {self._nodes[site]: content for site, content in contents.items()}
        for node, message in ask(self._grid, "query.answer", asking, timeout_s, self._wait, self._call):
            site, refused = names[node], dict(standing.refused)
            if message.has_error():
                log.warning(
                    "site %s did not answer %s of round %d: %s", site, asked.kind, asked.round, _reason(message)
                )
                refused[site] = _reason(message)
            waiting = tuple(name for name in standing.waiting if name != site)
            standing = replace(standing, waiting=waiting, refused=refused)
            self._look(standing)
            if not message.has_error():
                yield site, message.content

    def _call(self, nodes: Iterable[int]) -> None:
        """Tell the gateway that there is something for these nodes."""
        if self._bells:
            for site in (site for site, node in self._nodes.items() if node in set(nodes)):
                Bell(self._bells / site).ring()

    def _wait(self, heard: int) -> int:
        """Wait for the gateway's bell, or a little; how often it was rung by now."""
        bell = Bell(self._bells / COORDINATOR) if self._bells else None
        if heard < 0:
            return bell.rung() if bell else 0
        for _ in range(LOOKS if bell else 1):
            if bell and bell.rung() != heard:
                break
            if self._stop.wait(BELL_S if bell else POLL_S):
                raise KeyboardInterrupt
        return bell.rung() if bell else 0


def ask(
    grid: Grid, kind: str, contents: Mapping[int, RecordDict], timeout_s: float, wait: Callable[[int], int],
    call: Callable[[Iterable[int]], None] = lambda _: None,
) -> Iterator[tuple[int, Message]]:  # fmt: skip
    """Send each node its content; what comes back in time, node and message, as it comes, errors too.

    Args:
        wait: is given what it returned last (-1 at first), and returns when it is time to look again.
        call: is told the nodes when there is something for them.
    """
    deadline = time.monotonic() + timeout_s
    messages = [Message(content, node, kind, ttl=timeout_s + GRACE_S) for node, content in contents.items()]
    awaited, late, heard = {name for name in grid.push_messages(messages) if name}, False, wait(-1)
    call(contents)
    while awaited and not late:
        late = time.monotonic() >= deadline  # what has come by then counts, however long it takes to fetch
        for message in _pulled(grid, awaited):
            if message.metadata.src_node_id in contents:
                yield message.metadata.src_node_id, message
        if awaited and not late:
            heard = wait(heard)


def _pulled(grid: Grid, awaited: set[str]) -> Iterator[Message]:
    """Replies that are there, a few at a time; who has replied is awaited no longer."""
    left = iter(sorted(awaited))
    while some := list(islice(left, AT_ONCE)):
        for message in grid.pull_messages(some):
            awaited.discard(message.metadata.reply_to_message_id)
            yield message


def _reason(message: Message) -> str:
    reason = message.error.reason or "" if message.has_error() else ""
    return reason if message.error.code == REFUSED else f"Flower's error {message.error.code}: {reason}"


def _packed(content: bytes, plan: str) -> dict[str, ConfigRecord | ArrayRecord]:
    """One array of bytes as Flower's records: few and small ones, for each is stored and asked for by itself."""
    if len(content) <= SMALL_BYTES:
        return {"message": ConfigRecord({"plan": plan, "bytes": content})}
    return {"message": ConfigRecord({"plan": plan}), "pieces": _record(content)}


def _unpacked(content: RecordDict) -> bytes:
    try:
        told = cast(ConfigRecord, content["message"])
        return cast(bytes, told["bytes"]) if "bytes" in told else _bytes(content, "pieces")
    except (KeyError, TypeError, AttributeError):
        raise WireError("a Flower message without our bytes.") from None


def _record(content: bytes) -> ArrayRecord:
    # Flower sends arrays in pieces, but a ConfigRecord whole: for 100 MB that took ten times as long.
    return ArrayRecord({"bytes": Array("uint8", (len(content),), "consilium", content)})


def _bytes(content: RecordDict, name: str) -> bytes:
    try:
        return cast(ArrayRecord, content[name])["bytes"].data
    except (KeyError, TypeError, AttributeError):
        raise WireError(f"a Flower message without bytes under '{name}'.") from None


# --- a real federation ----------------------------------------------------------------------------------------------

app = ServerApp()
"""What the SuperExec starts. Run-config: `home`, the coordinator's folder; `plan`, the digest of a plan in it."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A run, or the rest of it: goes on from the checkpoint there is. How it ended stands in the run's folder."""
    told = context.run_config
    if not (told.get("home") and told.get("plan")):
        raise ConfigError("run-config: expected home and plan; `python -m server run PLAN` gives both.")
    home = Home(Path(str(told["home"])))
    run = Run.find(home, str(told["plan"]))
    with run.held():
        logs.begin(run.folder / "log.jsonl")  # what a ServerApp prints, Flower throws away
        ids = read_json(home.live / "nodes.json") or {}
        if missing := [site for site in run.state.cohort if site not in ids]:
            run.end("failed", f"{', '.join(missing)}: no member any more. Submit the plan again, without.")
            return
        nodes = {site: int(ids[site]) for site in run.state.cohort}
        store = Store(home.live / "flower" / "state.db")
        direct = StoreGrid(store, cast(HttpGrid, grid).run, lambda: _short(home, nodes))
        bells, unready = home.live / "bells", partial(FolderBoard(home).unready, run.plan.digest)
        work = examine if run.plan.content.models else train
        way = FlowerTransport(direct, nodes, run.plan.digest, look=run.look, bells=bells, unready=unready)
        try:
            conduct(run, way, work)
        except Exception:  # the keeper begins the run again; why it has to is for people to read
            log.exception("run %s: a defect, or the SuperLink went away", run.name)
            raise


def _short(home: Home, nodes: Mapping[str, int]) -> set[int]:
    """Nodes of the sites that took their last message from the gateway."""
    heard = glance(home.live / "heard.json") or {}
    return {node for site, node in nodes.items() if heard.get(site, {}).get("short")}
