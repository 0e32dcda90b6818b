"""Flower's wire form of one message: what the SuperLink's answer holds of it, and a reply as it is handed in.

A message's content is a tree of objects (`RecordDict` over records over arrays over chunks), each named by the SHA-256
of its bytes. Flower announces the tree with the message's head, and moves the objects one by one; our own gateway's
short way (`client.connection.fast_path`) may put a small content into the message itself.
"""

from collections.abc import Iterator

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents


def expiry_s(pulled: PullMessagesResponse) -> float:
    """When a message expires, in the coordinator's seconds since 1970."""
    metadata = pulled.messages_list[0].metadata
    return float(metadata.created_at + metadata.ttl)


def content_ids(pulled: PullMessagesResponse) -> list[str]:
    """The objects of a message's content, which comes last. Its head needs not be fetched: it came with the message."""
    return object_ids(pulled.message_object_trees[0])[:-1] if pulled.message_object_trees else []


def is_inline(pulled: PullMessagesResponse) -> bool:
    """Whether the content is in the message itself: our gateway's short way."""
    return not pulled.message_object_trees


def is_small(reply: Message) -> bool:
    """Whether a reply has no arrays, which alone are large."""
    return reply.has_error() or all(isinstance(record, ConfigRecord) for record in reply.content.values())


def object_ids(tree: ObjectTree) -> list[str]:
    """All objects of a tree, children first, each once."""
    return list(dict.fromkeys(node.object_id for node in iterate_object_tree(tree)))


def with_content(pulled: PullMessagesResponse, contents: dict[str, bytes]) -> Message:
    """The message, its content put together from the objects.

    Raises:
        TypeError, and whatever Flower raises: what a coordinator sent is no content of a message.
    """
    message = message_from_proto(pulled.messages_list[0])
    if not is_inline(pulled):
        content = inflate_object_from_contents(content_ids(pulled)[-1], contents)
        if not isinstance(content, RecordDict):
            raise TypeError(f"a message of {type(content).__name__}")
        message.content = content
    return message


def inline_parts(reply: Message, node: Node) -> Iterator[bytes]:
    """A small reply with all that is in it, as our gateway's short way takes it."""
    with no_object_id_recompute():
        reply.metadata.__dict__["_message_id"] = reply.object_id
        yield PushMessagesRequest(node=node, messages_list=[message_to_proto(reply)]).SerializeToString()


def announced_parts(reply: Message, node: Node, runtime_s: float) -> Iterator[bytes]:
    """A reply as it is announced, then its objects one by one, for they may be large."""
    with no_object_id_recompute():
        reply.metadata.__dict__["_message_id"] = reply.object_id
        tree, objects = get_object_tree(reply), get_all_nested_objects(reply)
        yield PushMessagesRequest(
            node=node,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[tree],
            clientapp_runtime_list=[runtime_s],
        ).SerializeToString()
        for object_id in object_ids(tree):
            yield objects[object_id].deflate()
