"""Whose names stand in what a node pushes. Flower 1.42 checks who asks, and trusts what is written in the messages.

So one member could answer in another's name, or send another site an instruction as if it came from the coordinator
(a message that answers nothing is stored as one). The gateway lets neither through.
"""

from flwr.proto.fleet_pb2 import PushMessagesRequest
from google.protobuf.message import DecodeError

from common.errors import IdentityError, WireError


def refuse_other_names(content: bytes) -> None:
    """Refuse a PushMessagesRequest with more in it than a node's own replies; who the node is, the SuperLink checks.

    Raises:
        IdentityError: a message of another node, or one that is no reply.
        WireError: if it is no such request.
    """
    try:
        request = PushMessagesRequest.FromString(content)
    except DecodeError:
        raise WireError("not a request to push messages.") from None
    for message in request.messages_list:
        metadata = message.metadata
        if metadata.src_node_id != request.node.node_id or not metadata.reply_to_message_id:
            raise IdentityError(
                "other-name", "a message in another's name, or one that answers nothing. Nothing was taken."
            )
