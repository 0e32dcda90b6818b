"""Five hospitals whose run has a budget, behind secure aggregation; each keeps its account in memory."""

from collections.abc import Mapping

import numpy as np

from common.config import Config
from common.privacy.account import AccountInMemory
from common.privacy.price_list import Schedule
from tests.rounds.world import FIVE, World


def private_config(epsilon: float = 3.0, of: str = "image", **federation: object) -> Config:
    return Config.model_validate(
        {
            "name": "t",
            "data": {"kind": "synthetic", "sites": 5},
            "sites": {"split": "natural"},
            "model": {"kind": "svm", "features": "unit", "loss": "logistic", "C": 1.0},
            "privacy": {"epsilon": epsilon, "delta": 1e-5, "of": of},
            "federation": federation,
        }
    )


def network_config(epsilon: float = 3.0, **federation: object) -> Config:
    tree = {
        "name": "t",
        "data": {"kind": "synthetic", "sites": 5},
        "sites": {"split": "natural"},
        "model": {"kind": "cnn", "architecture": "plain", "width": 4},
        "privacy": {"epsilon": epsilon, "delta": 1e-5, "of": "image"},
        "federation": {"rounds": 3, "local": {"steps": 2}, **federation},
    }
    return Config.model_validate(tree)


class PrivateWorld(World):
    """As `World`, with an account at every site."""

    def __init__(self, config: Config, sizes: Mapping[str, int] = FIVE, **misfortune: float) -> None:
        super().__init__(config, sizes, **misfortune)
        budget = config.budget
        assert budget is not None
        self.accounts = {name: AccountInMemory(budget.epsilon, budget.delta) for name in sizes}
        for name, secured in self.secured.items():
            secured.account = self.accounts[name]

    @property
    def schedule(self) -> Schedule:
        schedule = self.work.course.schedule
        assert schedule is not None
        return schedule

    def exact(self, kind: str, weights: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """What the sites would sum without noise."""
        from common.messages.transport import Request
        from common.types import prefixed

        settings = {"recipe": self.pipeline.fingerprint()}
        request = Request(f"noised-{kind}", 0, prefixed("weights", weights or {}), settings)
        total: dict[str, np.ndarray] = {}
        for name in self.parts:
            contribution, _ = self.site(name).contribute(request, {})
            for key, value in contribution.sums.items():
                total[key] = total.get(key, 0.0) + value
        return total
