"""Measure the house: files on the top floors, names that occur twice, long files and functions, words that riddle.

python docs/house.py            prints the table of this checkout
python docs/house.py FOLDER     that of another checkout, to compare
python docs/house.py --words    every bare participle that is an identifier, with its places
"""

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("client", "server", "common", "simulation", "simulate.py")
MIRRORS = {"__init__.py", "__main__.py", "app.py", "home.py", "commands.py"}
"""File names that stand in several rooms on purpose: a mirror of the two sides, or a room's command line."""
MIRROR_CLASSES = {"Home"}
"""Classes that each side has on purpose: a site's home folder and the coordinator's."""
MOST_LINES, MOST_FUNCTION_LINES = 250, 60
WORDS = """
admitted agreed allowed answered approved arrived asked awaited begun broken called carried changed checked
chosen come compared confirmed counted cut dealt decided declared delivered demanded described differing done drawn
dropped ended enrolled examined expected fallen found given gone got handed heard held hidden joined judged kept
known lacking learned left left_out let listed loaded lost made made_up meant missed mixed named noted offered
opened own packed parsed passed pinned placed played pooled posted prepared presented published pushed put refused
released remembered repaired resolved restored revealed said sealed seen sent served shared shown sifted signed
simulated sorted_out spent split_up spread stacked standing stored stuck taken talked thought told trained treated
typed unpacked unsealed used vouched wanted watched witnessed worked written
"""
PARTICIPLES = frozenset(WORDS.split())
"""Past participles that alone say neither what a value is nor what a function does. `bound` is a limit here."""
SIDES = frozenset({"right", "top", "bottom"})
"""Beside one of these in a file `left` is a side, and no participle."""


def files(root: Path) -> list[Path]:
    """The program's own Python files."""
    paths: list[Path] = []
    for room in ROOMS:
        place = root / room
        paths += [place] if place.is_file() else sorted(place.rglob("*.py"))
    return paths


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that is bound here: of values, parameters, functions, methods, classes and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every function and how many lines it has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def participles(root: Path) -> dict[str, list[str]]:
    """Bare participles that are identifiers, each with the places where it is bound."""
    places = defaultdict(list)
    for path in files(root):
        names = list(identifiers(ast.parse(path.read_text(encoding="utf-8"))))
        nouns = {"left"} if SIDES & {name for name, _ in names} else set()
        for name, line in names:
            if name.strip("_") in PARTICIPLES - nouns:
                places[name.strip("_")].append(f"{path.relative_to(root)}:{line}")
    return places


def repeated(names: list[str]) -> int:
    """How many names occur more than once."""
    return sum(1 for count in Counter(names).values() if count > 1)


def classes(root: Path) -> list[str]:
    """Names of the public classes at the top of a module."""
    return [
        node.name
        for path in files(root)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def measures(root: Path) -> dict[str, int]:
    """The table, a row a measure."""
    paths = files(root)
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    words = participles(root)
    top = {f"files on the top floor of {room}/": len(list((root / room).glob("*.py"))) for room in ROOMS[:3]}
    rooms = {f"rooms of {room}/": len(list((root / room).glob("*/__init__.py"))) for room in ROOMS[:3]}
    sizes = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
    lengths = [lines for tree in trees for _, lines in functions(tree)]
    return {
        **top,
        **rooms,
        "Python files of the program": len(paths),
        "lines of the program": sum(sizes),
        "file names that occur twice (but for the mirrors)": repeated([p.name for p in paths if p.name not in MIRRORS]),
        "class names that occur twice (but for the mirrors)": repeated(
            [c for c in classes(root) if c not in MIRROR_CLASSES]
        ),
        f"files over {MOST_LINES} lines": sum(size > MOST_LINES for size in sizes),
        f"functions over {MOST_FUNCTION_LINES} lines": sum(length > MOST_FUNCTION_LINES for length in lengths),
        "`told` bound as an identifier": len(words.get("told", ())),
        "bare participles bound as identifiers": sum(map(len, words.values())),
    }


def main() -> None:
    """Print the table, or the words."""
    arguments = [a for a in sys.argv[1:] if a != "--words"]
    root = Path(arguments[0]) if arguments else ROOT
    if "--words" in sys.argv:
        for word, places in sorted(participles(root).items(), key=lambda item: -len(item[1])):
            print(f"{word} ({len(places)}): {', '.join(places)}")
        return
    for name, number in measures(root).items():
        print(f"{number:7}  {name}")


if __name__ == "__main__":
    main()
