"""The content of messages, over Flower's Fleet API: pieces that a site pulls from the coordinator, and pushes to it."""

from collections.abc import Mapping, Sequence

from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    pull_objects,
    push_object_contents_from_iterable,
)
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.connection.fleet_client import Endpoint, NobodyWaitsError, ask
from client.connection.retry import RetryLoop, StoppedError
from common.errors import LinkError

TOGETHER = 4
"""Objects under way at a time; Flower cuts arrays into pieces of 5 MB."""


def pull(
    retry: RetryLoop, client: FleetHttpClient, node: Node, run_id: int, ids: Sequence[str],
    contents: dict[str, bytes], until_s: float,
) -> None:  # fmt: skip
    """Pull what is missing; what has come stays, so that a link that fails costs a piece and not the whole.

    Args:
        ids: of all objects of the message.
        contents: those that are here, by id; what comes is added.

    Raises:
        NobodyWaitsError: the coordinator has not got what it announced.
        StoppedError: the site stops.
        LinkError: the link failed; ask again.
    """
    fetch = make_pull_object_fn_protobuf(lambda r: ask(retry.endpoint, client.PullObject, r), node, run_id)

    def pull_one(object_id: str) -> bytes:
        if retry.stop.is_set():
            raise StoppedError
        contents[object_id] = fetch(object_id)
        return b""

    missing = [object_id for object_id in ids if object_id not in contents]
    try:
        # The coordinator may still be writing what it announced: Flower would look again after a second.
        pull_objects(
            missing, pull_one, max_concurrent_pulls=TOGETHER, max_time=until_s - retry.clock.now(),
            max_tries_per_object=None, initial_backoff=0.01, backoff_cap=0.5,
        )  # fmt: skip
    except ObjectPullError as error:
        raise NobodyWaitsError(f"its content is not there ({error})") from None


def push(
    endpoint: Endpoint, client: FleetHttpClient, node: Node, request: PushMessagesRequest, contents: Mapping[str, bytes]
) -> None:
    """Announce a reply, and push what the coordinator has not got of it.

    Raises:
        LinkError: the coordinator did not store a part.
    """
    response = ask(endpoint, client.PushMessages, request)
    give = make_push_object_fn_protobuf(
        lambda r: ask(endpoint, client.PushObject, r), node, request.messages_list[0].metadata.run_id,
        response.session_id,
    )  # fmt: skip
    try:
        push_object_contents_from_iterable(
            ((i, contents[i]) for i in response.objects_to_push), give, max_concurrent_pushes=TOGETHER
        )
    except ObjectPushError:
        raise LinkError(f"{endpoint.address} did not store a part of the reply. It may be short of disk.") from None
