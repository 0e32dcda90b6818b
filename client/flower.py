"""The site's edge to Flower: a standard ClientApp around `client.site.Site`.

A message carries one array of bytes, which common/wire.py wrote and reads; a reply likewise. What the site keeps from
round to round lies in Flower's `context.state`, as bytes too. Two apps answer in the same way:

    app          what a hospital runs; its node-config names the configuration file and the site
    simulated()  what Flower's simulation engine runs: node i is the i-th simulated site
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from client import dataset
from client.secure import SealedFile, Secured, machine
from client.site import Site
from common import config as configuration
from common import tensorfile, wire
from common.config import Config
from common.enrolment import Enrolment
from common.errors import ConfigError, ConsiliumError, WireError
from common.exchanges import exchanges
from common.models import build
from common.secagg import Exchange, State
from common.transport import Reply, Request
from common.types import Tensors

REFUSED = 100
"""Error code of our own (Flower's end at 8): the reason is a message for people."""


@dataclass(frozen=True)
class Member:
    """The site that a node is."""

    site: Site
    labels: tuple[str, ...]
    layouts: Callable[[int], dict[str, Exchange]]
    simulated: bool
    """Its state may leave, for it is the simulation's own: a checkpoint keeps it."""
    enrolment: Enrolment | None = None
    """None: a simulation without secure aggregation."""
    store: SealedFile | None = None
    """Where a real site keeps what secure aggregation must not forget; a simulated one keeps it in Flower's context."""

    def answer(self, request: Request, state: Tensors, context: Context) -> tuple[Reply, Tensors]:
        """One step of secure aggregation, from the state that the last one recorded."""
        if self.enrolment is None:
            return self.site.answer(request, state)

        def remember(after: State) -> None:
            context.state["secagg"] = _record(after.encode())

        kept = State.decode(_bytes(context.state, "secagg")) if "secagg" in context.state else State()
        own = machine(self.enrolment, self.store.load() if self.store else kept)
        return Secured(self.site, self.layouts, own, self.store or remember).answer(request, state)


# --- which site a node is -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _members(config: str, seed: int, simulated: bool) -> tuple[Member, ...]:
    """The sites of a configuration (as JSON), loaded once a process: that can take longer than a round."""
    checked = Config.model_validate_json(config)
    data = dataset.load(checked, seed)
    model = build(checked.model_for(seed), data.sites[0].train.images.shape[1:], len(data.labels), checked.augment)
    sites = [Site(cases, data.pipeline, model, checked.federation.local) for cases in data.sites]
    layouts = partial(exchanges, checked, model, data.sites[0].train.images.shape[1:], len(data.labels))
    return tuple(Member(site, data.labels, layouts, simulated) for site in sites)


def _simulated_member(config: str, seed: int, enrolled: Mapping[str, Enrolment], context: Context) -> Member:
    member = _members(config, seed, True)[int(context.node_config["partition-id"])]
    return replace(member, enrolment=enrolled.get(member.site.cases.name))


def _own_member(context: Context) -> Member:
    """The site that this node is by its node-config: `config`, a path; `site`, a name; `keys`, a folder; optionally
    `seed`. It answers under secure aggregation alone."""
    told = context.node_config
    if "config" not in told:
        raise ConfigError('node-config: no key config; expected config="PATH", this hospital\'s configuration file.')
    if "keys" not in told:
        raise ConfigError('node-config: no key keys; expected keys="FOLDER", with this site\'s identity and pins.json.')
    config = configuration.load(str(told["config"]))
    members = _members(config.model_dump_json(), int(told.get("seed", config.seeds[0])), False)
    by_name = {member.site.cases.name: member for member in members}
    name = str(told.get("site", next(iter(by_name)) if len(by_name) == 1 else ""))
    if name not in by_name:
        raise ConfigError(f"node-config: site is {name!r}, expected one of those in the data: {', '.join(by_name)}.")
    folder = Path(str(told["keys"]))
    enrolment = Enrolment.read(name, folder)
    return replace(by_name[name], enrolment=enrolment, store=SealedFile(folder / "state", enrolment.sealing_key))


# --- answering ------------------------------------------------------------------------------------------------------

Handler = Callable[[Member, Message, Context], RecordDict]


def _introduce(member: Member, message: Message, context: Context) -> RecordDict:
    """Who this is, and what must be the same at every site."""
    shape = [int(n) for n in member.site.cases.train.images.shape[1:]]
    about = ConfigRecord({"site": member.site.cases.name, "recipe": member.site.recipe.fingerprint()})
    about["labels"], about["shape"] = list(member.labels), shape
    return RecordDict({"about": about})


def _answer(member: Member, message: Message, context: Context) -> RecordDict:
    """What the site answers to the request in the message."""
    if member.simulated and "state" in message.content:  # a resumed simulation brings what its sites had kept
        context.state["state"] = message.content["state"]
    kept = tensorfile.unpack(_bytes(context.state, "state"))[0] if "state" in context.state else {}
    reply, state = member.answer(wire.decode_request(_bytes(message.content, "message")), kept, context)
    content = RecordDict({"message": _record(wire.encode_reply(reply))})
    if state is not kept:
        context.state["state"] = _record(tensorfile.pack(state, {}))
        if member.simulated:
            content["state"] = context.state["state"]
    return content


def _respond(which: Callable[[Context], Member], handle: Handler, message: Message, context: Context) -> Message:
    """Handle one message; what a user can mend becomes an error that the coordinator can read."""
    try:
        return Message(handle(which(context), message, context), reply_to=message)
    except (ConsiliumError, OSError) as error:
        return Message(Error(REFUSED, str(error)), reply_to=message)


def _app(which: Callable[[Context], Member]) -> ClientApp:
    client = ClientApp()
    client.query("introduce")(partial(_respond, which, _introduce))
    client.query("answer")(partial(_respond, which, _answer))
    return client


def _record(content: bytes) -> ArrayRecord:
    # Flower sends arrays in pieces, but a ConfigRecord whole: for 100 MB that took ten times as long.
    return ArrayRecord({"bytes": Array("uint8", (len(content),), "consilium", content)})


def _bytes(content: RecordDict, name: str) -> bytes:
    try:
        return cast(ArrayRecord, content[name])["bytes"].data
    except (KeyError, AttributeError):
        raise WireError(
            f"a Flower message without bytes under '{name}': not from this release's coordinator."
        ) from None


def simulated(config: Config, seed: int, enrolled: Mapping[str, Enrolment]) -> ClientApp:
    """All sites of one seed of a simulation; each process loads the data once. Enrolled none: all is in the clear."""
    return _app(partial(_simulated_member, config.model_dump_json(), seed, enrolled))


app = _app(_own_member)
"""What a hospital's SuperNode runs."""
