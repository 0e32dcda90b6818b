"""What a run's figures come from: who took part, time and bytes, and what made them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from common.refusals import CODES, public_code
from common.web.markup import Child, count, el, seconds, size, table
from server.report import participation, sentences
from server.report.sentences import Result


def took_part(result: Result) -> list[Element]:
    """Which site answered in which round."""
    first = result["rounds"][0].get("seed") if result["rounds"] else None
    rounds = [r for r in result["rounds"] if r.get("seed") == first]
    what = "model, as in the tables above" if result.get("kind") == "evaluation" else "round"
    caption = f"Every {what}{' of the first seed' * (first is not None)}, from the left"
    parts = participation.of_result(result)
    away = sorted(set(result.get("asked", ())) - set(parts))
    absent = sentences.without_part(result)
    return [
        el("h2", "Who took part"), *presence(caption, list(parts), rounds),
        *([el("p", absent)] if absent else []),
        *([el("p", f"Asked, and not taking part, without an approval: {', '.join(away)}.")] if away else []),
    ]  # fmt: skip


def presence(caption: str, sites: Sequence[str], rounds: Sequence[Mapping[str, Any]]) -> list[Element]:
    """A row a site, a sign a round; and what the signs mean."""
    symbols = {"a": "■", "r": "⊘", "s": "□", "v": "×", "n": "·"}
    rows: list[list[Child]] = []
    for name in sites:
        signs_of_rounds = [_presence(name, r) for r in rounds]
        strip = el("span", *(el("span", symbols[t], class_=t) for t in signs_of_rounds), class_="strip", role="img",
                   aria_label=_silences(name, rounds))  # fmt: skip
        rows.append(
            [name, f"{signs_of_rounds.count('a') + signs_of_rounds.count('v')} of {len(signs_of_rounds)}", strip]
        )
    element = table(caption, ["site", "answered", "round by round"], rows)
    element[0].set("class", "strips")
    signs = ("■ answered", "⊘ refused", "□ silent", "× answered, but too few did: void", "· not asked")
    legend = el("ul", *(el("li", sign) for sign in signs), class_="legend")
    codes = sorted({code for r in rounds for code in r.get("refused", {}).values()})
    meanings = [el("li", el("code", code), f" {CODES[public_code(code)].happened}") for code in codes]
    why = [el("p", "What was refused, and why:"), el("ul", *meanings)] if codes else []
    return [legend, element, *why]


def _presence(name: str, record: Mapping[str, Any]) -> str:
    if name in record.get("refused", {}):
        return "r"
    if name in record["dropped"]:
        return "s"
    if name not in record["sites"]:
        return "n"
    return "v" if record["void"] else "a"


def cost(result: Result) -> list[Element]:
    """Time and bytes of the run's rounds."""
    costs = result["cost"]
    rows: list[list[Child]] = [
        ["Rounds", count(costs["rounds"])], ["Void rounds among them", count(costs["void"])],
        ["Time in rounds", seconds(costs["seconds"])], ["Sent up by all sites", size(costs["bytes_up"])],
        ["Sent down to all sites", size(costs["bytes_down"])],
    ]  # fmt: skip
    return [el("h2", "Time and bytes"), table("The federated rounds together", ["what", "how much"], rows)]


def origin(result: Result) -> list[Element]:
    """What made the run's figures: plan, release, code, versions."""
    keys = {"plan": "Plan, SHA-256", "release": "Release", "code": "Code at the sites, SHA-256",
            "preprocess": "Preprocessing, fingerprint", "weights_sha256": "Weights, SHA-256"}  # fmt: skip
    values = {name: str(result[key]) for key, name in keys.items() if key in result}
    values |= {f"Weights of seed {s['seed']}, SHA-256": s["weights_sha256"] for s in result.get("seeds", ())}
    values["Made with"] = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    rows: list[list[Child]] = [[name, el("code", value)] for name, value in values.items()]
    element = table("What made these figures", ["what", "value"], rows)
    element[0].set("class", "words")
    elements = [el("h2", "Where it comes from"), element]
    if "config" not in result:
        return elements
    settings = json.dumps(result["config"], indent=1, ensure_ascii=False)
    return [*elements, el("details", el("summary", "All settings"), el("pre", settings))]


def _silences(name: str, rounds: Sequence[Mapping[str, Any]]) -> str:
    """In which rounds a site refused or was silent, or the round void, for whoever cannot see the strip."""
    codes = [f"{r['round'] + 1} ({r['refused'][name]})" for r in rounds if name in r.get("refused", {})]
    silent = [str(r["round"] + 1) for r in rounds if name in r["dropped"]]
    void = [str(r["round"] + 1) for r in rounds if r["void"]]
    kinds = ("refused", codes), ("silent", silent), ("void", void)
    parts = [f"{what} in rounds {', '.join(which)}" for what, which in kinds if which]
    return "; ".join(parts) or "answered in every round"
