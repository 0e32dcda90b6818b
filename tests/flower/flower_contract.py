"""What this project uses of Flower beyond its public API, one table for each kind of thing; who uses it, by the source.

NAMES     imported from inner modules; the test compares this table with the imports, so it is never out of date
CALLS     how they are called
FIELDS    of protobuf messages, with their numbers: a site's journal holds messages that the release before wrote
VALUES    constants that stand in our own files too, or that other machines see
PATHS     what a node's call is on the wire
PROGRAMS  commands and their options; ENVIRONMENT: what they read

docs/next-flower.md says what to do when one of them has changed.
"""

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = frozenset(
    ("flwr.app", "flwr.client", "flwr.clientapp", "flwr.common", "flwr.server", "flwr.serverapp", "flwr.simulation")
)

NAMES = {
    "flwr.app.message": "make_message remove_content_from_message",
    "flwr.cli.build": "build_fab_from_files",
    "flwr.common.constant": "ErrorCode HEARTBEAT_DEFAULT_INTERVAL MESSAGE_TTL_TOLERANCE Status TIMESTAMP_HEADER",
    "flwr.common.serde": "message_from_proto message_to_proto user_config_to_proto",
    "flwr.proto.control_pb2": "ListNodesRequest ListRunsRequest RegisterNodeRequest StartRunRequest StopRunRequest "
    "UnregisterNodeRequest",
    "flwr.proto.fab_pb2": "Fab",
    "flwr.proto.fleet_pb2": "ActivateNodeRequest DeactivateNodeRequest PullMessagesRequest PullMessagesResponse "
    "PushMessagesRequest",
    "flwr.proto.heartbeat_pb2": "SendNodeHeartbeatRequest",
    "flwr.proto.message_pb2": "ConfirmMessageReceivedRequest ObjectTree",
    "flwr.proto.node_pb2": "Node",
    "flwr.proto.task_pb2": "Task",
    "flwr.server.superlink.linkstate": "LinkState LinkStateFactory",
    "flwr.server.superlink.linkstate.utils": "convert_sint64_values_in_dict_to_uint64 "
    "convert_uint64_values_in_dict_to_sint64 dict_to_message message_to_dict",
    "flwr.server.utils.validator": "validate_message",
    "flwr.supercore.constant": "FLEET_HTTP_PUBLIC_KEY_HEADER FLEET_HTTP_SIGNATURE_HEADER",
    "flwr.supercore.control.control_http_client": "ControlHttpClient",
    "flwr.supercore.date": "now",
    "flwr.supercore.error": "ApiErrorCode FlowerError",
    "flwr.supercore.heartbeat": "HeartbeatSender",
    "flwr.supercore.inflatable.inflatable_object": "get_all_nested_objects get_object_tree is_valid_sha256_hash "
    "iterate_object_tree no_object_id_recompute",
    "flwr.supercore.inflatable.inflatable_protobuf_utils": "make_pull_object_fn_protobuf make_push_object_fn_protobuf",
    "flwr.supercore.inflatable.inflatable_utils": "ObjectPullError ObjectPushError ObjectUnavailableError "
    "inflate_object_from_contents pull_objects push_object_contents_from_iterable",
    "flwr.supercore.object_store": "ObjectStoreFactory",
    "flwr.supercore.primitives.asymmetric": "public_key_to_bytes sign_message",
    "flwr.supercore.protobuf.client": "ProtobufCall ProtobufRequestContext",
    "flwr.supercore.run": "Run RunStatus",
    "flwr.supercore.utils": "uint64_to_int64",
    "flwr.supercore.version": "package_version",
    "flwr.superlink.federation": "NoOpFederationManager",
    "flwr.superlink.grid": "http_grid",
    "flwr.supercore.state.alembic": "utils",
    "flwr.superlink.cli": "flower_superlink",
    "flwr.superlink.grid.http_grid": "HttpGrid",
    "flwr.superlink.servicer.fleet": "fleet_handlers",
    "flwr.superlink.servicer.runtime": "runtime_handlers",
    "flwr.supernode.fleet_http_client": "FleetHttpClient",
}

CALLS = {
    # module: what is called in it, with how many arguments by position and which ones by name; `self` is one of them
    "flwr.app.message": ("make_message 0 metadata error", "remove_content_from_message 1"),
    "flwr.cli.build": ("build_fab_from_files 1",),
    "flwr.common.serde": ("message_from_proto 1", "message_to_proto 1", "user_config_to_proto 1"),
    "flwr.server.superlink.linkstate": (
        "LinkStateFactory 3", "LinkStateFactory.state 1", "LinkState.get_node_id_by_public_key 2",
        "LinkState.store_message_ins 2", "LinkState.store_message_res 2",
        "LinkState.get_message_res 1 message_ids run_id", "LinkState.delete_messages 1 message_ins_ids",
        "LinkState.get_run_status 2", "LinkState.start_session 2", "LinkState.store_message_and_object_tree 4",
        "LinkState.store_object 5", "LinkState.get_object 3",
    ),
    "flwr.server.superlink.linkstate.utils": (
        "convert_sint64_values_in_dict_to_uint64 2", "convert_uint64_values_in_dict_to_sint64 2", "dict_to_message 1",
        "message_to_dict 1",
    ),
    "flwr.server.utils.validator": ("validate_message 0 message is_reply_message",),
    "flwr.supercore.control.control_http_client": (
        "ControlHttpClient.from_server_address 4", "ControlHttpClient.RegisterNode 2", "ControlHttpClient.StopRun 2",
        "ControlHttpClient.UnregisterNode 2", "ControlHttpClient.ListNodes 2", "ControlHttpClient.StartRun 2",
        "ControlHttpClient.ListRuns 2", "ControlHttpClient.close 1",
    ),
    "flwr.supercore.heartbeat": ("HeartbeatSender 1", "HeartbeatSender.start 1", "HeartbeatSender.stop 1"),
    "flwr.supercore.inflatable.inflatable_object": (
        "get_all_nested_objects 1", "get_object_tree 1", "is_valid_sha256_hash 1", "iterate_object_tree 1",
        "no_object_id_recompute 0",
    ),
    "flwr.supercore.inflatable.inflatable_protobuf_utils": (
        "make_pull_object_fn_protobuf 3", "make_push_object_fn_protobuf 4",
    ),
    "flwr.supercore.inflatable.inflatable_utils": (
        "pull_objects 2 max_concurrent_pulls max_time max_tries_per_object initial_backoff backoff_cap",
        "push_object_contents_from_iterable 2 max_concurrent_pushes", "inflate_object_from_contents 2",
        "ObjectPullError 2", "ObjectUnavailableError 1",
    ),
    "flwr.supercore.object_store": ("ObjectStoreFactory 1", "ObjectStore.get_object_tree 2", "ObjectStore.delete 2"),
    "flwr.supercore.primitives.asymmetric": ("public_key_to_bytes 1", "sign_message 2"),
    "flwr.supercore.run": ("RunStatus 3",),
    "flwr.superlink.federation": ("NoOpFederationManager 0",),
    "flwr.superlink.grid.http_grid": (
        "HttpGrid 0 token", "HttpGrid.set_run 2", "HttpGrid.push_messages 2", "HttpGrid.pull_messages 2",
        "HttpGrid.get_node_ids 1",
    ),
    "flwr.superlink.servicer.fleet": ("fleet_handlers.confirm_message_received 3",),
    "flwr.superlink.servicer.runtime": (
        "runtime_handlers.get_nodes 3", "runtime_handlers.push_messages 3", "runtime_handlers.push_object 3",
    ),
    "flwr.supernode.fleet_http_client": (
        "FleetHttpClient 1 interceptors verify timeout", "FleetHttpClient.__enter__ 1", "FleetHttpClient.__exit__ 4",
    ),
}  # fmt: skip

FIELDS = {
    "flwr.proto.control_pb2": {
        "RegisterNodeRequest": "public_key=1",
        "RegisterNodeResponse": "node_id=1",
        "UnregisterNodeRequest": "node_id=1",
        "ListNodesResponse": "nodes_info=1",
        "StartRunRequest": "fab=1 override_config=2",
        "StartRunResponse": "run_id=1",
        "ListRunsRequest": "limit=2",
        "ListRunsResponse": "run_dict=1",
        "StopRunRequest": "run_id=1",
    },
    "flwr.proto.fab_pb2": {"Fab": "content=2"},
    "flwr.proto.fleet_pb2": {
        "ActivateNodeRequest": "public_key=1 heartbeat_interval=2",
        "ActivateNodeResponse": "node_id=1",
        "DeactivateNodeRequest": "node_id=1",
        "PullMessagesRequest": "node=1",
        "PullMessagesResponse": "messages_list=2 message_object_trees=3",
        "PushMessagesRequest": "node=1 messages_list=2 message_object_trees=3 clientapp_runtime_list=4",
        "PushMessagesResponse": "objects_to_push=3 session_id=4",
    },
    "flwr.proto.heartbeat_pb2": {
        "SendNodeHeartbeatRequest": "node=1 heartbeat_interval=2",
        "SendNodeHeartbeatResponse": "success=1",
    },
    "flwr.proto.message_pb2": {
        "ConfirmMessageReceivedRequest": "node=1 run_id=2 message_object_id=3",
        "Message": "metadata=1 content=2",
        "Metadata": "run_id=1 message_id=2 src_node_id=3 reply_to_message_id=5 ttl=7 created_at=9",
        "ObjectTree": "object_id=1",
    },
    "flwr.proto.node_pb2": {
        "Node": "node_id=1",
        "NodeInfo": "node_id=1 status=4 last_activated_at=6 last_deactivated_at=7 public_key=11",
    },
    "flwr.proto.run_pb2": {"Run": "status=10", "RunStatus": "status=1 sub_status=2 details=3"},
    "flwr.proto.task_pb2": {"Task": "run_id=3"},
}

VALUES: dict[str, dict[str, object]] = {
    "flwr.common.constant": {
        "ErrorCode.CLIENT_APP_RAISED_EXCEPTION": 2,
        "ErrorCode.MESSAGE_UNAVAILABLE": 3,
        "HEARTBEAT_DEFAULT_INTERVAL": 30,
        "Status.RUNNING": "running",
        "Status.FINISHED": "finished",
        "TIMESTAMP_HEADER": "flwr-timestamp",
    },
    "flwr.supercore.constant": {
        "FLEET_HTTP_PUBLIC_KEY_HEADER": "flwr-public-key",
        "FLEET_HTTP_SIGNATURE_HEADER": "flwr-signature",
        "NodeStatus.OFFLINE": "offline",
        "NodeStatus.ONLINE": "online",
        "NodeStatus.UNREGISTERED": "unregistered",
    },
    "flwr.supercore.error": {
        "ApiErrorCode.FLEET_GET_FAB_FAILED": 2009,
        "ApiErrorCode.FLEET_GET_RUN_FAILED": 2008,
        "ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED": 2004,
        "ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED": 2007,
    },
}

PATHS = {
    # method of FleetHttpClient: its address below /v1/fleet/, and the message it takes
    "ActivateNode": "activate-node flwr.proto.fleet_pb2 ActivateNodeRequest",
    "DeactivateNode": "deactivate-node flwr.proto.fleet_pb2 DeactivateNodeRequest",
    "SendNodeHeartbeat": "send-node-heartbeat flwr.proto.heartbeat_pb2 SendNodeHeartbeatRequest",
    "PullMessages": "pull-messages flwr.proto.fleet_pb2 PullMessagesRequest",
    "PushMessages": "push-messages flwr.proto.fleet_pb2 PushMessagesRequest",
    "PushObject": "push-object flwr.proto.message_pb2 PushObjectRequest",
    "PullObject": "pull-object flwr.proto.message_pb2 PullObjectRequest",
    "ConfirmMessageReceived": "confirm-message-received flwr.proto.message_pb2 ConfirmMessageReceivedRequest",
}

PROGRAMS = {
    "flower-superlink": "--host --port --isolation --ssl-certfile --ssl-keyfile --ssl-ca-certfile "
    "--enable-supernode-auth --database --superexec-auth-secret-file --disable-runtime-dependency-installation",
    "flower-superexec": "--runtime-api-address --root-certificates --superexec-auth-secret-file",
    "flwr-serverapp": "",
}
ENVIRONMENT = (
    "FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION",
    "FLWR_HOME", "FLWR_SUPEREXEC_TASK_POLL_INTERVAL", "FLWR_LOG_LEVEL",
)  # fmt: skip

DATABASE_BEFORE = "d90a2f91f23c"
"""The form of state.db in Flower 1.41, that release 0.1 of this project left (in Flower's table alembic_version)."""
OBJECTS = {
    "small": "699ba80ebdbaa74c44f049587008e706a233f13f35944d3a3501b2ed1c50a1ae",
    "pieces": "9c3b83b49278ade50cc84cf1274833f621aeed673f7f7d9b78c652bc9be34828",
}
"""The names of two small records in Flower 1.41: a name is the SHA-256 of how the record is written."""


class Source(NamedTuple):
    """One of our files."""

    text: str
    inner: dict[str, set[str]]
    """What it imports from each inner module of Flower."""


@cache
def sources() -> dict[str, Source]:
    """All files of `client` and `server`, wherever in there they lie, by path."""
    paths = sorted(path for top in ("client", "server") for path in (ROOT / top).rglob("*.py"))
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}
    return {path: Source(text, inner_imports(text)) for path, text in texts.items()}


def inner_imports(text: str) -> dict[str, set[str]]:
    """Names imported from inner modules of Flower, by module, in functions too; a module alone has no names."""
    imports: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and _is_inner(node.module or ""):
            imports.setdefault(str(node.module), set()).update(alias.name for alias in node.names)
        if isinstance(node, ast.Import):
            imports |= {alias.name: set() for alias in node.names if _is_inner(alias.name)}
    return imports


def _is_inner(module: str) -> bool:
    return module.split(".")[0] == "flwr" and module not in PUBLIC


def users(word: str) -> list[str]:
    """Our files with this word in them; of these, if there are any, the ones that import inner modules of Flower."""
    whole_word = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
    all_users = [path for path, source in sources().items() if whole_word.search(source.text)]
    return [path for path in all_users if sources()[path].inner] or all_users


def importers(module: str) -> list[str]:
    """Our files that import from this inner module of Flower."""
    return [path for path, source in sources().items() if module in source.inner]


def flower(module: str, name: str, word: str = "") -> Any:
    """Something of Flower, by its dotted name; where it is missing, the test fails and says who relies on it.

    Args:
        word: what our files that rely on it have in them, where none of them imports it.
    """
    try:
        value: Any = import_module(module)
        for part in name.split("."):
            value = _part(value, part)
    except (ImportError, AttributeError) as error:
        broken(f"`{module}` has no `{name}` ({error}).", importers(module) or users(word or name.split(".")[-1]))
    return value


def _part(whole: Any, name: str) -> Any:
    """An attribute, or a module of a package: what `from whole import name` gives."""
    if inspect.ismodule(whole) and hasattr(whole, "__path__") and not hasattr(whole, name):
        return import_module(f"{whole.__name__}.{name}")
    return getattr(whole, name)


def broken(fault: str, files: list[str]) -> NoReturn:
    """Fail with what broke and which of our files relies on it."""
    names = ", ".join(files) or "no file any more: take the line out of tests/flower/flower_contract.py"
    pytest.fail(f"flwr {version('flwr')}: {fault}\nRelied on by: {names}\nSee docs/next-flower.md.", pytrace=False)
