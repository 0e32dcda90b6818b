"""Draw docs/round.svg, the processes that one round goes through, from the table below.

python docs/draw_round.py            writes the picture
python docs/draw_round.py --check    fails where the picture is not what the table says
"""

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

PICTURE = Path(__file__).parent / "round.svg"

Lane = Literal["run", "start", "serverapp", "superlink", "gateway", "site", "approve"]
LANES: dict[Lane, tuple[int, str, str]] = {
    "run": (224, "server run", "command"),
    "start": (322, "server start", "scheduler"),
    "serverapp": (420, "ServerApp", "round loop"),
    "superlink": (518, "SuperLink", "and SuperExec"),
    "gateway": (616, "gateway", "one open port"),
    "site": (732, "client run", "resident process"),
    "approve": (836, "client approve", "command"),
}
"""Where each process is drawn, and its two lines of name."""
COORDINATOR, HOSPITAL = (172, 668), (680, 888)
WIDTH, TOP, ARROW_HEIGHT, GAP = 896, 118, 34, 16

Kind = Literal["local", "tls", "signed", "masked"]
COLOURS: dict[Kind, str] = {"local": "#57606a", "tls": "#24292f", "signed": "#0b5d80", "masked": "#8a3ffc"}
DASHES: dict[Kind, str] = {"local": "2 4", "tls": "", "signed": "", "masked": ""}


@dataclass(frozen=True)
class Arrow:
    """What goes from one process to another; from a process to itself: what it does."""

    start: Lane
    end: Lane
    label: str
    kind: Kind = "local"


STOPS: dict[str, tuple[Arrow, ...]] = {
    "A plan is signed": (Arrow("run", "run", "plan.json, signed by the root key"),),
    "Sites fetch the plan": (
        Arrow("site", "gateway", "GET board", "signed"),
        Arrow("gateway", "site", "roster, plan", "tls"),
    ),
    "A hospital decides": (Arrow("approve", "gateway", "POST decision", "signed"),),
    "The images are read": (
        Arrow("site", "site", "decode, cache"),
        Arrow("site", "gateway", "POST doing", "signed"),
    ),
    "The run begins": (
        Arrow("start", "superlink", "bundle without code"),
        Arrow("superlink", "serverapp", "starts it"),
    ),
    "Keys for a period": (
        Arrow("serverapp", "site", "join, share, take: proposal, roster, all sites’ keys", "tls"),
        Arrow("site", "serverapp", "public keys, sealed shares, ready", "signed"),
    ),
    "A question is asked": (Arrow("serverapp", "superlink", "model, round"),),
    "The site takes it": (
        Arrow("site", "gateway", "POST take", "signed"),
        Arrow("superlink", "gateway", "reads it"),
        Arrow("gateway", "site", "the question", "tls"),
    ),
    "The site trains": (Arrow("site", "site", "approved? train"),),
    "The answer, masked": (
        Arrow("site", "gateway", "POST give", "masked"),
        Arrow("gateway", "superlink", "stores it", "masked"),
        Arrow("superlink", "serverapp", "adds it", "masked"),
    ),
    "The sum is unmasked": (
        Arrow("serverapp", "site", "agree: whose vectors arrived; release", "tls"),
        Arrow("site", "serverapp", "a signature, then shares", "signed"),
    ),
    "The next model": (Arrow("serverapp", "serverapp", "step, evaluate, checkpoint"),),
}


def picture() -> str:
    """The whole drawing."""
    height, rows = TOP, []
    for number, (title, arrows) in enumerate(STOPS.items(), 1):
        rows.append(_row(number, title, arrows, height))
        height += ARROW_HEIGHT * len(arrows) + GAP
    lanes = "".join(_lane(*lane, height) for lane in LANES.values())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 44}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13.5">\n'
        "<title>The twelve stops of a deployed round, and the processes that they go through</title>\n"
        f"<defs>{''.join(map(_marker, COLOURS))}</defs>\n"
        f'<rect width="{WIDTH}" height="{height + 44}" fill="#ffffff"/>\n'
        f"{_machine(COORDINATOR, 'coordinator’s machine', height)}{_machine(HOSPITAL, 'hospital’s machine', height)}"
        f"{lanes}{''.join(rows)}{_legend(height + 28)}</svg>\n"
    )


def _machine(reach: tuple[int, int], name: str, height: int) -> str:
    left, right = reach
    return (
        f'<rect x="{left}" y="8" width="{right - left}" height="{height - 4}" rx="10" fill="#f6f8fa" stroke="#8c959f"/>'
        f'<text x="{(left + right) / 2}" y="32" text-anchor="middle" font-size="16" font-weight="bold">{name}</text>\n'
    )


def _lane(x: int, name: str, below: str, height: int) -> str:
    return (
        f'<line x1="{x}" y1="92" x2="{x}" y2="{height - 6}" stroke="#c4cad1"/>'
        f'<rect x="{x - 47}" y="46" width="94" height="46" rx="6" fill="#ffffff" stroke="#57606a"/>'
        f'<text x="{x}" y="66" text-anchor="middle" font-weight="bold" font-size="12.5">{name}</text>'
        f'<text x="{x}" y="83" text-anchor="middle" font-size="11.5" fill="#57606a">{below}</text>\n'
    )


def _row(number: int, title: str, arrows: tuple[Arrow, ...], top: int) -> str:
    middle = top + ARROW_HEIGHT * len(arrows) / 2
    head = (
        f'<circle cx="16" cy="{middle}" r="13" fill="#0b5d80"/>'
        f'<text x="16" y="{middle + 5}" text-anchor="middle" fill="#ffffff" font-weight="bold">{number}</text>'
        f'<text x="34" y="{middle + 5}" font-weight="bold" font-size="13">{escape(title)}</text>\n'
    )
    return head + "".join(_arrow(arrow, top + ARROW_HEIGHT * index) for index, arrow in enumerate(arrows))


def _arrow(arrow: Arrow, top: int) -> str:
    start, end, colour, y = LANES[arrow.start][0], LANES[arrow.end][0], COLOURS[arrow.kind], top + 24
    label = escape(arrow.label)
    if start == end:
        width = 7.0 * len(arrow.label) + 20
        left = max(COORDINATOR[0] + 4, min(start - width / 2, WIDTH - 12 - width))
        return (
            f'<rect x="{left}" y="{top + 6}" width="{width}" height="26" rx="13" fill="#ffffff" stroke="{colour}"/>'
            f'<text x="{left + width / 2}" y="{top + 24}" text-anchor="middle" fill="{colour}">{label}</text>\n'
        )
    inset = 4 if end > start else -4
    return (
        f'<line x1="{start + inset}" y1="{y + 5}" x2="{end - inset}" y2="{y + 5}" stroke="{colour}" stroke-width="1.8" '
        f'stroke-dasharray="{DASHES[arrow.kind]}" marker-end="url(#{arrow.kind})"/>'
        f'<text x="{(start + end) / 2}" y="{y}" text-anchor="middle" fill="{colour}" stroke="#f6f8fa" stroke-width="4" '
        f'paint-order="stroke">{label}</text>\n'
    )


def _marker(kind: Kind) -> str:
    return (
        f'<marker id="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 10 5 0 10z" fill="{COLOURS[kind]}"/></marker>'
    )


def _legend(y: int) -> str:
    texts: dict[Kind, str] = {
        "local": "on one machine",
        "tls": "over TLS",
        "signed": "over TLS, signed by the site",
        "masked": "a masked vector",
    }
    parts = []
    for index, (kind, text) in enumerate(texts.items()):
        x = 10 + (0, 190, 320, 590)[index]
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 34}" y2="{y - 4}" stroke="{COLOURS[kind]}" stroke-width="1.8" '
            f'stroke-dasharray="{DASHES[kind]}"/><text x="{x + 42}" y="{y}">{text}</text>\n'
        )
    return "".join(parts)


def main() -> None:
    """Write, or check."""
    if "--check" not in sys.argv:
        PICTURE.write_text(picture(), encoding="utf-8")
    elif PICTURE.read_text(encoding="utf-8") != picture():
        sys.exit(f"{PICTURE.name} is not what its table says: run `python docs/draw_round.py`.")


if __name__ == "__main__":
    main()
