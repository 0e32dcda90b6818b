"""How the installed Flower must behave, on the wire, in messages, in its grid and its database; without a SuperLink.

Our gateway, node and store assume it. Each test says what is different, and which of our files relies on it. Nothing of
`client` and `server` is imported here: when Flower has changed they may not even load. What to do about a failure:
docs/next-flower.md.
"""

import asyncio
import json
import sqlite3
import threading
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.flower.flower_contract import DATABASE_BEFORE, OBJECTS, PATHS, broken, flower, users


def message_to(node: int, content: Any = None, run: int = 7) -> Any:
    """A message of a ServerApp, with the id that our own files give it."""
    empty = flower("flwr.app", "RecordDict")()
    message = flower("flwr.app", "Message")(empty if content is None else content, node, "query.x", ttl=60.0)
    message.metadata.__dict__["_run_id"] = run
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


@pytest.fixture(autouse=True)
def a_serverapp(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as Flower's: messages take from it whose they are."""
    identity = flower("flwr.supercore.task_identity", "TaskIdentity", "ServerApp")
    for name, number in (("_task_id", 1), ("_run_id", 7), ("_node_id", 1)):
        monkeypatch.setattr(identity, name, number)


# --- the wire -------------------------------------------------------------------------------------------------------


class Recorder:
    """Stands between Flower's client and the network: keeps each request, and answers with nothing."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def intercept(self, context: Any, call_next: Any) -> httpx.Response:
        self.requests.append(context.request)
        return httpx.Response(200, request=context.request)


@pytest.mark.parametrize("method", PATHS)
def test_a_nodes_call_goes_where_the_gateway_lets_it_through(method: str) -> None:
    path, module, message = PATHS[method].split()
    recorder = Recorder()
    client = flower("flwr.supernode.fleet_http_client", "FleetHttpClient")("https://host:1", interceptors=[recorder])
    with client:
        getattr(client, method)(flower(module, message)())
    (request,) = recorder.requests
    if (request.method, request.url.path) != ("POST", f"/v1/fleet/{path}"):
        broken(f"`{method}` asks {request.method} {request.url.path}, it was /v1/fleet/{path}.", users(path))


def test_the_fleet_api_has_the_addresses_that_the_gateway_decided_on() -> None:
    routes = {route.path for route in flower("flwr.superlink.routers.fleet.router", "router", "/v1/fleet/").routes}
    known = {f"/v1/fleet/{path.split()[0]}" for path in PATHS.values()}
    known |= {f"/v1/fleet/{path}" for path in ("get-run", "get-fab", "register-node", "unregister-node")}
    if routes != known:
        broken(f"the Fleet API's addresses changed: {sorted(routes ^ known)}.", users("/v1/fleet/"))


def test_the_fleet_client_keeps_its_connections_where_we_forbid_redirections() -> None:
    client = flower("flwr.supernode.fleet_http_client", "FleetHttpClient")("https://host:1")
    if not isinstance(getattr(client, "_client", None), httpx.Client):
        broken("`FleetHttpClient._client` is no httpx.Client: redirections would be followed.", users("_client"))


def test_a_nodes_signature_covers_the_time_and_nothing_else() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    interceptor = flower("flwr.supernode.node_auth_http_interceptor", "NodeAuthHttpInterceptor", "flwr-signature")
    context = flower("flwr.supercore.protobuf.client", "ProtobufRequestContext")
    request = httpx.Request("POST", "https://host/v1/fleet/push-messages", content=b"body")
    signing = interceptor(key, key.public_key())
    signing.intercept(context("rpc", None, request), lambda given: httpx.Response(200, request=given.request))
    try:
        names = ("flwr-public-key", "flwr-timestamp", "flwr-signature")
        shown, at, signature = (request.headers[name] for name in names)
        public = load_pem_public_key(b64decode(shown))
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(b64decode(signature), at.encode("ascii"), ec.ECDSA(SHA256()))
    except Exception as error:
        broken(
            f"a node signs its requests in another way ({error!r}).", users("flwr-signature") + users("sign_message")
        )


def test_an_error_travels_as_its_number_and_a_reason() -> None:
    error = flower("flwr.supercore.error", "FlowerError")
    code = flower("flwr.supercore.error", "ApiErrorCode.PUBLIC_KEY_ALREADY_IN_USE")
    translate = flower("flwr.supercore.error", "http_error_translator", "detail")

    async def refuse(_: Any) -> Any:
        raise error(code, "for the log")

    request: Any = SimpleNamespace(url=httpx.URL("https://host/v1/control/register-node"))
    with ThreadPoolExecutor(1) as thread:  # a browser of other tests may have a loop going in this one
        answer = json.loads(thread.submit(lambda: asyncio.run(translate(request, refuse))).result().body)
    if answer.get("code") != code or "already in use" not in str(answer.get("detail")):
        broken(f"an error is told as {answer}.", sorted({*users("detail"), *users("already in use")}))


# --- messages -------------------------------------------------------------------------------------------------------


def test_records_are_written_as_the_release_before_wrote_them() -> None:
    array, arrays, config, record = (
        flower("flwr.app", name) for name in ("Array", "ArrayRecord", "ConfigRecord", "RecordDict")
    )
    pieces = arrays({"bytes": array("uint8", (2,), "consilium", b"cd")})
    names = {
        "small": record({"message": config({"plan": "ab", "bytes": b"cd"})}).object_id,
        "pieces": record({"pieces": pieces}).object_id,
    }
    if names != OBJECTS:
        broken(
            "records are written in another way: what a site has in its journal cannot be read, and sites of the "
            "release before cannot be asked.", users("inflate_object_from_contents"),
        )  # fmt: skip


def test_a_message_takes_the_id_that_we_give_it() -> None:
    message = message_to(9)
    name = message.metadata.message_id
    message.metadata.created_at, message.metadata.ttl = 10.0, 20.0
    proto = flower("flwr.common.serde", "message_to_proto")(message)
    sent = (proto.metadata.message_id, proto.metadata.created_at, proto.metadata.ttl)
    if sent != (name, 10.0, 20.0):
        broken("the id and the times that are set in a message's metadata are not what is sent.", users("_message_id"))


def test_a_tree_of_objects_is_walked_children_first_and_the_message_last() -> None:
    inflatable, record = "flwr.supercore.inflatable.inflatable_object", flower("flwr.app", "RecordDict")
    content = record({"message": flower("flwr.app", "ConfigRecord")({"n": 1})})
    message = message_to(9, content)
    tree = flower(inflatable, "get_object_tree")(message)
    order = [node.object_id for node in flower(inflatable, "iterate_object_tree")(tree)]
    if order[-2:] != [content.object_id, message.object_id]:
        broken("the objects of a message come in another order.", users("iterate_object_tree"))
    if list(flower(inflatable, "get_all_nested_objects")(message)) != order:
        broken("`get_all_nested_objects` has another order than the tree.", users("get_all_nested_objects"))


# --- the grid of a ServerApp ----------------------------------------------------------------------------------------


class RuntimeClient:
    """Notes what Flower's grid asks of it, and answers with a reply that lies in pieces."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def answer(request: Any) -> Any:
            self.calls.append(name)
            if name == "PullMessages":
                return SimpleNamespace(messages_list=[_proto()], message_object_trees=[_tree()])
            return SimpleNamespace(nodes=[], message_ids=[], session_id="", objects_to_push=[])

        return answer


def _proto() -> Any:
    return flower("flwr.proto.message_pb2", "Message")()


def _tree() -> Any:
    return flower("flwr.proto.message_pb2", "ObjectTree")(object_id="0" * 64)


def _grid() -> tuple[Any, RuntimeClient]:
    grid, client = flower("flwr.superlink.grid.http_grid", "HttpGrid")(token="none"), RuntimeClient()  # noqa: S106
    grid._client = client
    grid.set_run(flower("flwr.supercore.run", "Run").create_empty(7))
    return grid, client


def test_the_grid_asks_its_client_for_what_ours_can_answer() -> None:
    grid, client = _grid()
    grid.get_node_ids()
    grid.push_messages([message_to(9)])
    if client.calls != ["GetNodes", "PushMessages"]:
        broken(f"HttpGrid asks its `_client` for {client.calls}.", users("runtime_handlers"))


def test_the_grid_pulls_a_reply_by_the_function_that_we_put_in_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module, calls = flower("flwr.superlink.grid", "http_grid"), []

    def pull(*args: Any, **options: Any) -> Any:
        calls.append(options or args)
        raise flower("flwr.supercore.inflatable.inflatable_utils", "ObjectPullError")("0" * 64, "a test")

    monkeypatch.setattr(module, "pull_objects", pull, raising=False)
    list(_grid()[0].pull_messages(["0" * 64]))
    if len(calls) != 1:
        broken("HttpGrid does not call `http_grid.pull_objects`: replies would wait a second.", users("http_grid"))


def test_a_heart_beats_at_once_and_stops() -> None:
    beat = threading.Event()
    heart = flower("flwr.supercore.heartbeat", "HeartbeatSender")(lambda: beat.set() or True)
    heart.start()
    came = beat.wait(5.0)
    heart.stop()
    if not came:
        broken("`HeartbeatSender` does not beat when it is started.", users("HeartbeatSender"))


# --- the database ---------------------------------------------------------------------------------------------------


def database(folder: Path) -> Any:
    """Flower's state in a file, opened as the gateway and the ServerApp do it."""
    import_module("server.superlink.migrations").allow_any_path()
    path = str(folder / "state.db")
    objects = flower("flwr.supercore.object_store", "ObjectStoreFactory")(path)
    manager = flower("flwr.superlink.federation", "NoOpFederationManager")()
    return flower("flwr.server.superlink.linkstate", "LinkStateFactory")(path, manager, objects).state()


def node_in(state: Any, key: bytes) -> int:
    """A node that is online."""
    node = state.create_node("account", "name", key, 30.0)
    state.activate_node(node, 30.0)
    return int(node)


def run_in(state: Any) -> int:
    """A run that is going on."""
    federation, kind = flower("flwr.supercore.constant", "NOOP_FEDERATION_ID"), "flwr-serverapp"
    run = state.create_run(None, None, None, {}, federation, None, None, kind)
    (task,) = state.get_tasks(run_ids=[run])
    state.claim_task(task.task_id)
    state.activate_task(task.task_id)
    return int(run)


def test_a_small_message_and_its_reply_are_kept_whole_as_one_row_each(tmp_path: Path) -> None:
    state = database(tmp_path)
    node, run = node_in(state, b"key"), run_in(state)
    content = flower("flwr.app", "RecordDict")({"message": flower("flwr.app", "ConfigRecord")({"n": 1})})
    message = message_to(node, content, run)
    with state.session():
        state.store_message_ins(message)
    files = users("store_message_ins")
    if [m.content for m in state.get_message_ins(node_id=node, limit=1)] != [content]:
        broken("a message that is stored with its content does not come back with it.", files)
    if state.get_message_ins(node_id=node, limit=1):
        broken("a message is handed out twice.", files)
    reply = flower("flwr.app", "Message")(content, reply_to=message)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    state.store_message_res(reply)
    state.store_message_res(reply)
    answers = state.get_message_res(message_ids={message.object_id}, run_id=run)
    if [m.content for m in answers] != [content]:
        broken("a reply that was stored twice with its content does not come back once, with it.", files)
    state.delete_messages(message_ins_ids={message.object_id})
    if state.get_run_status({run})[run].status != "running":
        broken("the status of a run that is going on is not `running`.", users("get_run_status"))


def test_a_message_in_pieces_says_which_it_wants_and_holds_them(tmp_path: Path) -> None:
    state = database(tmp_path)
    node, run = node_in(state, b"key"), run_in(state)
    message = message_to(node, run=run)
    inflatable = "flwr.supercore.inflatable.inflatable_object"
    objects = flower(inflatable, "get_all_nested_objects")(message)
    session, tree = state.start_session(run), flower(inflatable, "get_object_tree")(message)
    head = flower("flwr.app.message", "remove_content_from_message")(message)
    _, wanted = state.store_message_and_object_tree(head, tree, session)
    if set(wanted) != set(objects):
        broken("the store does not ask for all objects of a new message.", users("store_message_and_object_tree"))
    first, *others = wanted
    if not state.store_object(run, session, first, objects[first].deflate()):
        broken("an object that was asked for is not taken.", users("store_object"))
    if state.get_object(run, first) != objects[first].deflate():
        broken("`get_object` does not give what was stored.", users("get_object"))
    if {state.get_object(run, other) for other in others} != {b""} or state.get_object(run, "f" * 64) is not None:
        broken("`get_object` tells what is still coming from what is unknown in another way.", users("get_object"))
    stored = state.object_store.get_object_tree(message.object_id)
    if stored.SerializeToString() != tree.SerializeToString():
        broken("the tree of a message is not what was stored.", users("get_object_tree"))
    state.object_store.delete(message.object_id)


def test_a_database_of_the_release_before_is_taken_over_with_its_nodes(tmp_path: Path) -> None:
    state = database(tmp_path)
    node = node_in(state, b"key")
    config = flower("flwr.supercore.state.alembic.utils", "build_alembic_config", "state.db")(state._engine)
    import_module("alembic.command").downgrade(config, DATABASE_BEFORE)
    state._engine.dispose()
    if database(tmp_path).get_node_id_by_public_key(b"key") != node:
        broken("a node of a database that the release before wrote is not known any more.", users("state.db"))
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("SELECT count(*) FROM node").fetchone() == (1,)
