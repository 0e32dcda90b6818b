"""The round loop's transport over a Flower grid: requests to the sites' nodes, replies from them.

Only the bytes of common/messages/wire.py travel. The same code runs over Flower's simulated grid and over the database
of a SuperLink (server/superlink/store_grid.py).
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import ArrayRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import WireError
from common.messages import wire
from common.messages.transport import NONE, Misfortunes, Outcome, Refusal, Reply, Request
from common.refusals import public_code
from common.storage import tensorfile
from common.types import Tensors
from server.superlink.exchange_progress import ExchangeProgress
from server.superlink.flower_records import array_bytes, byte_array, message_bytes, message_records
from server.superlink.notify import COORDINATOR, Listener, Signal, of_run

log = logging.getLogger("consilium")

POLL_S = 0.02
"""Flower's own `send_and_receive` waits 3 s between two looks."""
LOOK_S = 0.5
"""How often it is looked for replies though the gateway signals none."""
TELL_S = 0.25
"""How often is told where an exchange stands: people look at it, and it is a file."""
AT_ONCE = 8
"""Replies that are fetched at a time: Flower hands over whole all that it is asked for."""
GRACE_S = 60.0
"""How much longer than the time-out a message may live on its way."""
CLIENT_APP_ERROR = 100
"""The code of an error that our ClientApp answers with, and not Flower."""


class FlowerTransport:
    """The sites behind a Flower grid. A node's refusal is handed over with its code; Flower's own errors are silence.

    Args:
        grid: as Flower hands it to a ServerApp.
        nodes: the sites' nodes, by name.
        plan: digest of the plan that all messages are of; simulated sites need none.
        is_unready: whether a site is not to be asked yet.
        signals: a folder with a signal for each site and each run; none: all ask now and then.
        misfortunes: what a simulation adds.
        stop: once it is set, waiting ends in KeyboardInterrupt.
        on_progress: is told where an exchange stands: within half a second, and at once whom it was refused by.
        share: how many runs the busiest site answers at once, one question after the other: so much longer is waited.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Mapping[str, int],
        plan: str = "",
        misfortunes: Misfortunes = NONE,
        stop: threading.Event | None = None,
        on_progress: Callable[[ExchangeProgress], None] = lambda _: None,
        signals: Path | None = None,
        is_unready: Callable[[str], bool] = lambda _: False,
        share: Callable[[], int] = lambda: 1,
    ) -> None:
        self._grid = grid
        self._nodes = dict(sorted(nodes.items()))
        self._plan = plan
        self._misfortunes = misfortunes
        self._stop = stop or threading.Event()
        self._on_progress = on_progress
        self._progress: ExchangeProgress | None = None
        self._noted: ExchangeProgress | None = None
        self._noted_s = float("-inf")
        self._signals = signals
        self._listener: Listener | None = None
        self._is_unready = is_unready
        self._share = share
        self.states: dict[str, Tensors] = {}
        """What simulated sites keep, for the checkpoint; real sites keep their own and never send it."""
        self._site_states: dict[str, Tensors] = {}
        """The state that each simulated site has, as far as it was sent or received."""

    def sites(self) -> tuple[str, ...]:
        """Names of all sites, sorted."""
        return tuple(self._nodes)

    def online(self) -> tuple[str, ...]:
        """Sites whose nodes are connected, and whose images are read."""
        nodes = set(self._grid.get_node_ids())
        return tuple(site for site, node in self._nodes.items() if node in nodes and not self._is_unready(site))

    def exchange(self, requests: Mapping[str, Request], timeout_s: float) -> Iterator[tuple[str, Outcome]]:
        """Send each site its request, all of one round; what came in time, site and reply or refusal, as it comes."""
        reachable = {site: r for site, r in requests.items() if not self._misfortunes.away(site, r.round)}
        # One record for all that are asked the same: Flower then stores its pieces once.
        records = {
            key: message_records(wire.encode_request(r), self._plan)
            for key, r in {id(r): r for r in reachable.values()}.items()
        }
        contents = {
            site: RecordDict({**records[id(request)], **self._state_for(site)}) for site, request in reachable.items()
        }
        for site, content in self._answers(contents, reachable, timeout_s):
            try:
                outcome = content if isinstance(content, Refusal) else self._reply(site, content)
            except WireError as error:
                log.warning("site %s: a reply that cannot be used: %s", site, error)
                continue
            if not self._misfortunes.silent(site, reachable[site].round):
                yield site, outcome

    def _reply(self, site: str, content: RecordDict) -> Reply:
        """The reply, and the state that a simulated site sends with it."""
        reply = wire.decode_reply(message_bytes(content))
        if "state" in content:
            self.states[site] = tensorfile.unpack(array_bytes(content, "state"))[0]
            self._site_states[site] = self.states[site]
        return reply

    def _state_for(self, site: str) -> dict[str, ArrayRecord]:
        """After a resume, the next message to a simulated site brings back what it had kept."""
        state = self.states.get(site)
        if not state or state is self._site_states.get(site):
            return {}
        self._site_states[site] = state
        return {"state": byte_array(tensorfile.pack(state, {}))}

    def _answers(
        self, contents: Mapping[str, RecordDict], requests: Mapping[str, Request], timeout_s: float
    ) -> Iterator[tuple[str, RecordDict | Refusal]]:
        """What comes back in time, as it comes."""
        if not contents:
            return
        request, timeout_s = next(iter(requests.values())), timeout_s * self._share()
        names, started_s = {node: site for site, node in self._nodes.items()}, time.time()
        progress = ExchangeProgress(
            request.kind, request.round, tuple(sorted(contents)), started_s, started_s + timeout_s
        )
        self._note(progress)
        by_node = {self._nodes[site]: content for site, content in contents.items()}
        for node, message in ask(self._grid, "query.answer", by_node, timeout_s, self._wait, self._signal_nodes):
            site, codes = names[node], dict(progress.refused)
            refusal = _refusal(message)
            if refusal:
                log.warning("site %s refuses %s of round %d: %s", site, request.kind, request.round, refusal.code)
                codes[site] = refusal.code
            elif message.has_error():
                reason = f"Flower's error {message.error.code}: {message.error.reason}"
                log.warning("site %s did not answer %s of round %d: %s", site, request.kind, request.round, reason)
            waiting = tuple(name for name in progress.waiting if name != site)
            progress = replace(progress, waiting=waiting, refused=codes)
            self._note(progress)
            if refusal:
                yield site, refusal
            elif not message.has_error():
                yield site, message.content
        self._note(progress, is_over=True)

    def _note(self, progress: ExchangeProgress, *, is_over: bool = False) -> None:
        """Tell where the exchange stands: at most every `TELL_S`, but what should not be missed at once."""
        self._progress, before = progress, self._noted
        is_due = (
            time.monotonic() >= self._noted_s + TELL_S or progress.refused or (is_over and before and before.waiting)
        )
        if progress != before and is_due:
            self._noted, self._noted_s = progress, time.monotonic()
            self._on_progress(progress)

    def _signal_nodes(self, nodes: Iterable[int]) -> None:
        """Tell the gateway that there is something for these nodes."""
        if self._signals:
            for site in (site for site, node in self._nodes.items() if node in set(nodes)):
                Signal(self._signals / site).send()

    def _wait(self, count: int) -> int:
        """Wait for the gateway's signal, or a little; how often it was sent by now."""
        if self._progress:
            self._note(self._progress)
        if self._signals and self._listener is None:
            self._listener = Listener(self._signals, (COORDINATOR, of_run(self._grid.run.run_id)))
        if self._listener is None:
            self._stop.wait(POLL_S if count >= 0 else 0.0)
        elif count >= 0:
            self._listener.wait(count, LOOK_S)
        if self._stop.is_set():
            raise KeyboardInterrupt
        return self._listener.count() if self._listener else 0


def ask(
    grid: Grid, kind: str, contents: Mapping[int, RecordDict], timeout_s: float, wait: Callable[[int], int],
    on_sent: Callable[[Iterable[int]], None] = lambda _: None,
) -> Iterator[tuple[int, Message]]:  # fmt: skip
    """Send each node its content; what comes back in time, node and message, as it comes, errors too.

    Args:
        wait: is given what it returned last (-1 at first), and returns when it is time to look again.
        on_sent: is told the nodes when there is something for them.
    """
    deadline = time.monotonic() + timeout_s
    messages = [Message(content, node, kind, ttl=timeout_s + GRACE_S) for node, content in contents.items()]
    pending = {name for name in grid.push_messages(messages) if name}
    is_late = False
    count = wait(-1)
    on_sent(contents)
    while pending and not is_late:
        is_late = time.monotonic() >= deadline  # what has come by then counts, however long it takes to fetch
        for message in _replies(grid, pending):
            if message.metadata.src_node_id in contents:
                yield message.metadata.src_node_id, message
        if pending and not is_late:
            count = wait(count)


def _replies(grid: Grid, pending: set[str]) -> Iterator[Message]:
    """Replies that are there, a few at a time; who has replied is taken out of `pending`."""
    names = iter(sorted(pending))
    while batch := list(islice(names, AT_ONCE)):
        for message in grid.pull_messages(batch):
            pending.discard(message.metadata.reply_to_message_id)
            yield message


def _refusal(message: Message) -> Refusal | None:
    """That our own ClientApp refused; a failure that it did not foresee is Flower's to report, and is a defect."""
    if not message.has_error():
        return None
    if message.error.code == CLIENT_APP_ERROR:
        return Refusal(public_code(message.error.reason or ""))
    return Refusal("DEFECT") if message.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION else None
