"""What of a consortium ends when, and how soon that is: told 30, 7 and 1 days before, and when it is over."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from common.trust.root_change import next_change
from server.consortium import certificate
from server.consortium.home import Home

DAY_S = 86_400.0
DAYS_BEFORE = (30, 7, 1)


@dataclass(frozen=True)
class Expiry:
    """Something that ends."""

    what: str
    at_s: float
    """Seconds since 1970."""
    todo: str

    def days_before(self, now_s: float) -> int | None:
        """Of `DAYS_BEFORE`, the one that is reached: 0 when it is over, None while there is time."""
        if now_s >= self.at_s:
            return 0
        return next((days for days in reversed(DAYS_BEFORE) if self.at_s - now_s <= days * DAY_S), None)

    def words(self, now_s: float) -> str:
        """In a sentence, for people."""
        day = time.strftime("%Y-%m-%d", time.gmtime(self.at_s))
        if now_s >= self.at_s:
            return f"{self.what} has expired, on {day}. {self.todo}"
        days = (self.at_s - now_s) / DAY_S
        rest = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
        return f"{self.what} expires in {rest}, on {day}. {self.todo}"


def all_of(home: Home) -> Iterator[Expiry]:
    """Everything here that ends, soonest or not."""
    renew = "Renew it: python -m server renew"
    yield Expiry("The roster, without which no site answers,", home.roster.expires_s, f"{renew} --days 365")
    yield Expiry(
        "The gateway's certificate", certificate.expires_s(certificate.certificate_file(home)),
        f"It is renewed by itself while the roster is valid for longer and `server start` runs. {renew}",
    )  # fmt: skip
    yield Expiry(
        "The TLS authority that all sites pin", certificate.expires_s(home.authority),
        "Make a new consortium for the time after it, and have all sites join that.",
    )  # fmt: skip
    if change := next_change(home.pins, home.root_changes):
        yield Expiry(
            "The time of the present roots", change.in_force_s,
            "Runs that began before fail then, since sites audit them under these roots: let them end, or stop them.",
        )  # fmt: skip


def warnings(home: Home, now_s: float) -> list[str]:
    """What ends within 30 days, or has."""
    return [one.words(now_s) for one in all_of(home) if one.days_before(now_s) is not None]
