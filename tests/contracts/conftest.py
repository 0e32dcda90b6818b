"""What is expected of every step, network, strategy and metric: of those built in, or with --plugin of a wheel's."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter

from common.algorithms.strategies import STRATEGIES, Strategy, strategy_of
from common.config import Federation, ModelConfig
from common.imaging.step_order import AnyStep
from common.metrics import performance, plugin_metric
from common.plugins import Part, PartKind, offered_parts
from common.types import Tensors
from tests.imaging.test_pipeline import STEPS

Figure = Callable[[Tensors], float | None]

DESCRIBED = [{"layer": "Conv2D", "filters": 4}, {"layer": "GroupNormalization"}, {"layer": "MaxPooling2D"},
             {"layer": "Flatten"}, {"layer": "Dropout", "rate": 0.2}, {"layer": "Dense", "units": 4}]  # fmt: skip
NETWORKS: dict[str, Any] = {
    name: {"kind": "cnn", "architecture": name, "width": 4} for name in ("plain", "groupnorm", "resnet")
} | {"layers": {"kind": "layers", "layers": DESCRIBED}, "svm": {"kind": "svm"}}


def of_plugin(config: pytest.Config, kind: PartKind) -> dict[str, Part] | None:
    """The parts of the wheel that is tested, by name; None: none is."""
    wheel = config.getoption("--plugin")
    if wheel is None:
        return None
    return {name: Part.model_validate(f"{wheel}:{name}").settled() for name in offered_parts(wheel)[kind]}


def steps(config: pytest.Config) -> Mapping[str, AnyStep]:
    named = of_plugin(config, "steps")
    own = {name: step for name, step in STEPS.items() if name != "federated"}
    trees = own if named is None else {name: {"step": "plugin", "part": part} for name, part in named.items()}
    return {name: TypeAdapter(AnyStep).validate_python(tree) for name, tree in trees.items()}


def networks(config: pytest.Config) -> Mapping[str, ModelConfig]:
    named = of_plugin(config, "models")
    trees = NETWORKS if named is None else {name: {"kind": "plugin", "part": part} for name, part in named.items()}
    return {name: TypeAdapter(ModelConfig).validate_python(tree) for name, tree in trees.items()}


def strategies(config: pytest.Config) -> Mapping[str, Strategy]:
    named = of_plugin(config, "strategies")
    if named is None:
        return STRATEGIES
    return {name: strategy_of(Federation(strategy="plugin", part=part)) for name, part in named.items()}


def metrics(config: pytest.Config) -> Mapping[str, Figure]:
    named = of_plugin(config, "metrics")
    if named is None:
        return {"auc": performance.auc_of_counts}

    def figure(part: Part) -> Figure:
        return lambda counts: plugin_metric.figures([part], counts)[str(part)]

    return {name: figure(part) for name, part in named.items()}


FIXTURES = {"step": steps, "network": networks, "strategy": strategies, "metric": metrics}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name in FIXTURES.keys() & set(metafunc.fixturenames):
        members = FIXTURES[name](metafunc.config)
        metafunc.parametrize(name, list(members.values()), ids=list(members))
