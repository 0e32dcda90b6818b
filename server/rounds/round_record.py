"""What is remembered of a round: a line of rounds.jsonl, and what every display of a run is drawn from."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RoundRecord:
    """What is remembered of a round."""

    round: int
    seconds: float
    bytes_up: int
    """From all sites together."""
    bytes_down: int
    sites: tuple[str, ...]
    """Those in the sum; without one those that would have been."""
    dropped: tuple[str, ...]
    """Those that said nothing, or nothing that could be used."""
    void: bool
    """Too few answered, or the sum could not be used: the model is as it was."""
    train_loss: float | None = None
    validation: dict[str, float | None] = field(default_factory=dict)
    """n, loss, accuracy, auc over the summed counts, C of several; empty where the round was not evaluated."""
    refused: dict[str, str] = field(default_factory=dict)
    """By site that refused the round's work, its code of `common.refusals`."""
    unjudged: dict[str, str] = field(default_factory=dict)
    """The same of those that refused to evaluate the round's model."""
    judges: tuple[str, ...] = ()
    """Those over which the model was evaluated."""
