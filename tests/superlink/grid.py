"""Flower's own grid in memory, around the real ClientApps."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.linkstate import LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.serverapp import Grid
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid


@contextmanager
def grid_of(clients: Mapping[int, ClientApp], told: Mapping[int, dict[str, Any]] | None = None) -> Iterator[Grid]:
    """Flower's in-memory grid, with a thread for every node (by partition, in the grid's order) and its ClientApp."""
    factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
    state: Any = factory.state()
    run = Run.create_empty(run_id=7)
    run.primary_task_id, run.federation_id = 1, NOOP_FEDERATION_ID
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, SUPERLINK_NODE_ID
    state.run_ids[7], state.task_store[1] = RunRecord(run=run), Task(task_id=1, run_id=7)
    grid, over = InMemoryGrid(factory, pull_interval=0.01), threading.Event()
    grid.set_run(run)

    def serve(node: int, client: ClientApp, context: Context) -> None:
        while not over.wait(0.005):
            for message in state.get_message_ins(node_id=node, limit=1):
                reply = client(message, context)
                reply.metadata.__dict__["_message_id"] = str(uuid4())
                state.store_message_res(reply)

    threads = []
    nodes = sorted(state.create_node("aid", "account", bytes([p]) * 32, heartbeat_interval=1e9) for p in clients)
    for node, (partition, client) in zip(nodes, clients.items(), strict=True):
        state.acknowledge_node_heartbeat(node_id=node, heartbeat_interval=1e9)
        config = {"partition-id": partition} | (told or {}).get(partition, {})
        threads.append(threading.Thread(target=serve, args=(node, client, Context(7, node, config, RecordDict(), {}))))
    for thread in threads:
        thread.start()
    try:
        yield grid
    finally:
        over.set()
        for thread in threads:
            thread.join()
