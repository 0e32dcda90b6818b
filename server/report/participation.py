"""Who made a model: in how many of its sums a site was, how often it refused and why, how often it was silent."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Rounds = Sequence[Mapping[str, Any]]
Participation = dict[str, dict[str, Any]]
"""By site: `rounds`, the sums with it that made the model; `refused`, codes and how often; `silent`, how often."""


def of_rounds(sites: Iterable[str], rounds: Rounds, best_round: int) -> Participation:
    """What each of the sites gave.

    Args:
        rounds: records as in rounds.jsonl; those of an older release do not tell refusals from silence.
        best_round: of the model that was kept; later rounds are not in it.
    """
    return {site: _of_site(site, rounds, best_round) for site in sorted(sites)}


def _of_site(site: str, rounds: Rounds, best_round: int) -> dict[str, Any]:
    in_model = sum(site in r["sites"] and not r["void"] and r["round"] <= best_round for r in rounds)
    codes = Counter(r["refused"][site] for r in rounds if site in r.get("refused", {}))
    return {"rounds": in_model, "refused": dict(sorted(codes.items())), "silent": silent_rounds(site, rounds)}


def silent_rounds(site: str, rounds: Rounds) -> int:
    """In how many rounds nothing came of the site that could be used."""
    return sum(site in r["dropped"] for r in rounds)


def trainers(parts: Participation) -> list[str]:
    """Sites in at least one of the sums that made the model, sorted."""
    return sorted(site for site, part in parts.items() if part["rounds"])


def of_result(result: Mapping[str, Any]) -> Participation:
    """The same from a result.json, also one of an older release, and of a simulation's first seed."""
    if "participation" in result:
        return dict(result["participation"])
    rounds, seeds = result["rounds"], result.get("seeds")
    if rounds and "seed" in rounds[0]:
        rounds = [r for r in rounds if r["seed"] == rounds[0]["seed"]]
    last = max((r["round"] for r in rounds), default=-1)
    best = seeds[0]["best_round"] if seeds else result.get("best_round", last)
    return of_rounds(result["sites"], rounds, best)


def absences(parts: Participation) -> list[str]:
    """What kept those away that are in no sum of the model, a phrase a site."""
    return [f"{site} ({_why(part)})" for site, part in parts.items() if not part["rounds"]]


def _why(part: Mapping[str, Any]) -> str:
    reasons = [f"refused {times(n)}: {code}" for code, n in part["refused"].items()]
    reasons += [f"silent {times(part['silent'])}"] if part["silent"] else []
    return "; ".join(reasons) or "in no round of the model that was kept"


def times(n: int) -> str:
    """How often, in words."""
    return {1: "once", 2: "twice"}.get(n, f"{n} times")
