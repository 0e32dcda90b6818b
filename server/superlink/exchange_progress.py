"""Where an exchange with the sites stands: who has not answered yet, until when, and who answered with an error."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ExchangeProgress:
    """One exchange, for whoever looks on."""

    kind: str
    round: int
    waiting: tuple[str, ...]
    """Sites that have not answered yet."""
    since_s: float
    until_s: float
    """Seconds since 1970."""
    refused: dict[str, str] = field(default_factory=dict)
    """Error codes of sites that answered with one."""
