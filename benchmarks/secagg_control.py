"""The control of tests/attacks: what Flower's own SecAgg+ client does with the same messages.

python benchmarks/secagg_control.py        seconds

The messages go through the client's own checks (`check_stage`, `check_configs`) and its own handlers, one after the
other, as `secaggplus_mod` calls them. "answered" means that it did what a malicious coordinator asked. Last line JSON.
"""

import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.common import ConfigRecord, ndarrays_to_parameters

# The package hides this module behind a function of the same name.
flower = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
UPDATE = ndarrays_to_parameters([np.linspace(-1, 1, 8, dtype=np.float32)])


class Client:
    """One of Flower's clients, between the coordinator's messages."""

    def __init__(self, node: int) -> None:
        self.state = flower.SecAggPlusState()
        self.state.nid = node

    def answer(self, stage: str, **configs: Any) -> dict[str, Any]:
        """Through the client's own checks and its handler."""
        record = ConfigRecord({"stage": stage, **configs})
        flower.check_stage(self.state.current_stage, record)
        self.state.current_stage = record.pop("stage")
        flower.check_configs(stage, record)
        handlers = {
            "setup": flower._setup, "share_keys": flower._share_keys, "unmask": flower._unmask,
            "collect_masked_vectors": lambda s, c: flower._collect_masked_vectors(s, c, 100, UPDATE),
        }  # fmt: skip
        result: dict[str, Any] = handlers[stage](self.state, record)
        return result


def set_up(client: Client, sites: int, threshold: int) -> list[bytes]:
    """The client's public keys."""
    out = client.answer(
        "setup", sample_num=sites, share_num=sites, threshold=threshold, clipping_range=8.0, target_range=1 << 22,
        mod_range=1 << 32, max_weight=1000.0,
    )  # fmt: skip
    return [out["pk1"], out["pk2"]]


def coordinators_keys() -> list[bytes]:
    """Keys that no site has made."""
    return [flower.public_key_to_bytes(flower.generate_key_pairs()[1]) for _ in range(2)]


def up_to_unmask(threshold: int = 2) -> Client:
    """Three honest clients; the first has sent its masked vector."""
    clients = {n: Client(n) for n in (1, 2, 3)}
    keys = {str(n): set_up(c, 3, threshold) for n, c in clients.items()}
    shared = {n: c.answer("share_keys", **keys) for n, c in clients.items()}
    boxes = [(n, out["ctxts"][out["dsts"].index(1)]) for n, out in shared.items() if n != 1]
    clients[1].answer("collect_masked_vectors", ctxts=[b for _, b in boxes], srcs=[n for n, _ in boxes])
    return clients[1]


def unsigned_keys() -> None:
    """All peers' keys are the coordinator's own."""
    client = Client(1)
    client.answer("share_keys", **{"1": set_up(client, 3, 2), "2": coordinators_keys(), "3": coordinators_keys()})


def threshold_of_one() -> None:
    """One share rebuilds every secret."""
    client = Client(1)
    client.answer("share_keys", **{"1": set_up(client, 3, 1), "2": coordinators_keys(), "3": coordinators_keys()})


def overlapping_lists() -> None:
    """A site is listed both active and dropped: the client is to give both of its shares."""
    out = up_to_unmask().answer("unmask", active_nids=[1, 2, 3], dead_nids=[2])
    assert out["nids"].count(2) == 2


def cohort_of_one() -> None:
    """The sum over a single site."""
    client = Client(1)
    client.answer("share_keys", **{"1": set_up(client, 1, 1)})
    client.answer("collect_masked_vectors", ctxts=[], srcs=[])
    client.answer("unmask", active_nids=[1], dead_nids=[])


def skipped_stage() -> None:
    """Unmask without a masked vector: the one message here that it should refuse, to show that refusals are seen."""
    client = Client(1)
    set_up(client, 3, 2)
    client.answer("unmask", active_nids=[1, 2], dead_nids=[3])


def main() -> None:
    """Give the messages, print what came of them."""
    attacks: list[Callable[[], None]] = [
        unsigned_keys,
        threshold_of_one,
        overlapping_lists,
        cohort_of_one,
        skipped_stage,
    ]
    refused = []
    for attack in attacks:
        try:
            attack()
        except (ValueError, KeyError, TypeError) as error:
            refused.append(attack.__name__)
            print(f"{attack.__name__}: refused ({str(error)[:80]})")
        else:
            print(f"{attack.__name__}: answered")
    print(json.dumps({"tried": len(attacks), "refused": len(refused), "which": refused}))


if __name__ == "__main__":
    main()
