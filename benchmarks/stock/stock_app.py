"""FedAvg as one writes it for Flower: a ClientApp that trains and evaluates, Flower's own strategy and start loop."""

import json
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

server = ServerApp()
client = ClientApp()


@lru_cache(maxsize=1)
def _site(config: str, name: str):
    from client.dataset import loading
    from common import config as configuration
    from common.models import build

    loaded = configuration.load(config)
    data = loading.load(loaded, loaded.seeds[0])
    shape = data.sites[0].train.images.shape[1:]
    model = build(loaded.model, shape, len(data.labels))
    return loaded, model, next(site for site in data.sites if site.name == name)


def _timed(context: Context, started: float) -> None:
    path = Path(str(context.node_config["times"]))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": time.time(), "seconds": time.monotonic() - started}) + "\n")


@client.train()
def train(message: Message, context: Context) -> Message:
    from common.models import Work

    config, model, site = _site(str(context.run_config["config"]), str(context.node_config["site"]))
    names = list(model.init(1))
    arrays = dict(zip(names, message.content["arrays"].to_numpy_ndarrays(), strict=True))
    started = time.monotonic()
    local = config.federation.local
    fitted = model.fit(arrays, site.train, Work(local, local.learning_rate, 1))
    _timed(context, started)
    metrics = MetricRecord({"num-examples": len(site.train), "loss": fitted.loss_sum / fitted.examples})
    content = RecordDict({"arrays": ArrayRecord([fitted.weights[n] for n in names]), "metrics": metrics})
    return Message(content, reply_to=message)


@client.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    _, model, site = _site(str(context.run_config["config"]), str(context.node_config["site"]))
    arrays = dict(zip(model.init(1), message.content["arrays"].to_numpy_ndarrays(), strict=True))
    started = time.monotonic()
    scores = model.scores(arrays, site.validation.images)
    _timed(context, started)
    right = float(np.mean(scores.argmax(axis=1) == site.validation.labels))
    content = RecordDict({"metrics": MetricRecord({"num-examples": len(site.validation), "accuracy": right})})
    return Message(content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    from common import config as configuration
    from common.models import build

    loaded = configuration.load(str(context.run_config["config"]))
    model = build(loaded.model, loaded.plan.shape, len(loaded.plan.labels))
    sites, rounds = int(context.run_config["sites"]), int(context.run_config["rounds"])
    while len(list(grid.get_node_ids())) < sites:
        time.sleep(0.2)
    stamps, out = [time.time()], Path(str(context.run_config["out"]))

    def stamp(number: int, arrays: ArrayRecord) -> None:
        stamps.append(time.time())
        (whole := out.with_suffix(".tmp")).write_text(json.dumps(stamps), encoding="utf-8")
        whole.replace(out)

    strategy = FedAvg(min_train_nodes=sites, min_evaluate_nodes=sites, min_available_nodes=sites)
    strategy.start(grid, ArrayRecord(list(model.init(1).values())), num_rounds=rounds, evaluate_fn=stamp)
