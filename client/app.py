"""The site's edge to Flower: a standard ClientApp around `client.training.node_site.NodeSite`.

A message carries one array of bytes, which common/messages/wire.py wrote and reads; a reply likewise. Two apps answer:

    app          what a hospital runs; its node-config names the site's folder, and every message the plan that it is of
    simulated()  what Flower's simulation engine runs: node i is the i-th simulated site

A message of a plan that this hospital has not approved is not answered, whichever of Flower's engines brings it.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # Flower reads it when it is imported

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from client.access import gate
from client.connection.records import array_record, bytes_under, pack, unpack
from client.home import Home, SiteFolder
from client.training.hospital_site import hospital_site
from client.training.node_site import NodeSite
from client.training.simulated_site import simulated_site
from common.config import Config
from common.errors import ConfigError, ConsiliumError, WireError
from common.messages import wire
from common.refusals import code_of
from common.trust.enrolment import Enrolment

log = logging.getLogger("consilium")

REFUSED = 100
"""Error code of our own (Flower's end at 8): the reason is a code of `common.refusals`."""

Which = Callable[[Message, Context], NodeSite]
"""Which site a node is."""
Handle = Callable[[NodeSite, Message, Context], RecordDict]


def simulated_app(config: Config, seed: int, enrolments: Mapping[str, Enrolment], approvals: bytes = b"") -> ClientApp:
    """All sites of one seed of a simulation; each process loads the data once. Enrolled none: all is in the clear."""
    return _app(partial(_simulated_node, config.model_dump_json(), seed, enrolments, approvals), is_simulated=True)


def hospital_app(home: Home) -> ClientApp:
    """What a site's resident process answers with, at which somebody was let in."""
    return _app(partial(_hospital_node, lambda context: home), is_simulated=False)


def _app(which: Which, *, is_simulated: bool) -> ClientApp:
    client = ClientApp()
    client.query("answer")(partial(_respond, which, _answer, code_of))
    if is_simulated:  # before there is a run there is nobody's data to spare: the whole reason is told
        client.query("introduce")(partial(_respond, which, _introduce, str))
    return client


# --- which site a node is -------------------------------------------------------------------------------------------


def _simulated_node(
    config: str, seed: int, enrolments: Mapping[str, Enrolment], approvals: bytes, message: Message, context: Context
) -> NodeSite:
    return simulated_site(config, seed, enrolments, approvals, int(context.node_config["partition-id"]))


def _hospital_node(home_of: Callable[[Context], Home], message: Message, context: Context) -> NodeSite:
    """The hospital, for the plan that the message is of."""
    return hospital_site(home_of(context), _plan_of(message))


def _configured_home(context: Context) -> Home:
    """The hospital whose folder the node-config names as `home`, at which the key of whoever runs this is let in."""
    if "home" not in context.node_config:
        raise ConfigError('node-config: no key home; expected home="FOLDER", this site\'s folder (client init).')
    return _let_in(Path(str(context.node_config["home"])))


@lru_cache(maxsize=1)
def _let_in(folder: Path) -> Home:
    return gate.let_in(SiteFolder.at(folder), "run")


def _plan_of(message: Message) -> str:
    try:
        return str(cast(ConfigRecord, message.content["message"])["plan"])
    except (KeyError, TypeError):
        raise WireError("a message that does not say of which plan it is: not from this release's server.") from None


# --- answering ------------------------------------------------------------------------------------------------------


def _introduce(node: NodeSite, message: Message, context: Context) -> RecordDict:
    """Which of the simulated sites this is."""
    return RecordDict({"about": ConfigRecord({"site": node.site.cases.name})})


def _answer(node: NodeSite, message: Message, context: Context) -> RecordDict:
    """What the site answers to the request in the message."""
    is_simulated = node.home is None
    if is_simulated and "state" in message.content:  # a resumed simulation brings what its sites had kept
        context.state["state"] = message.content["state"]
    request = wire.decode_request(unpack(message.content))
    reply, state = node.answer(request, ContextState(context))
    node.record(request)
    content = pack(wire.encode_reply(reply))
    if is_simulated and state is not None:  # its state may leave, for it is the simulation's own
        content["state"] = context.state["state"]
    return content


def _respond(
    which: Which, handle: Handle, text: Callable[[Exception], str], message: Message, context: Context
) -> Message:
    """Handle one message; what goes wrong becomes a code that the coordinator can read; the text stays in the log."""
    try:
        return Message(handle(which(message, context), message, context), reply_to=message)
    except (ConsiliumError, OSError) as error:
        log.warning("%s", error)
        return Message(Error(REFUSED, text(error)), reply_to=message)
    except Exception as error:  # Flower itself would send the text of it
        log.exception("a defect of this release")
        return Message(Error(REFUSED, text(error)), reply_to=message)


@dataclass(frozen=True)
class ContextState:
    """The state of a simulated site in Flower's context; a `client.training.node_site.SimulatedState`."""

    context: Context

    def read(self, name: str) -> bytes | None:
        """What was written last; None if nothing was."""
        return bytes_under(self.context.state, name) if name in self.context.state else None

    def write(self, name: str, content: bytes) -> None:
        """Replace the byte string of this name."""
        self.context.state[name] = array_record(content)


app = _app(partial(_hospital_node, _configured_home), is_simulated=False)
"""What a hospital's SuperNode runs."""
