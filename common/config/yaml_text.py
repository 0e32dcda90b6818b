"""YAML as a configuration holds it: plain values alone (`safe_load`), and every key once.

YAML itself lets the last of two equal keys win without a word, so that a value which stands in the file is not the
one that is used.
"""

from pathlib import Path
from typing import Any

import yaml

from common.errors import ConfigError

Parents = tuple[str, ...]
"""Keys of the sections around a node, outermost first."""

MOST_CHARACTERS = 1 << 17
"""Of one text; a configuration has some thousand."""
MOST_VALUES = 100_000
"""In one text, those that aliases (`*name`) repeat counted each time: a page of aliases can mean billions."""
MOST_LEVELS = 50
"""Of sections in sections."""
MOST_DIGITS = 40
"""Of a whole number; Python refuses to show one of thousands."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, seven times as fast, wherever PyYAML was built with it."""


def parse_yaml(text: str | bytes, place: Path | str) -> Any:
    """The values in a YAML text; `place`, the file it is from, is for the errors alone.

    Raises:
        ConfigError: the text is not valid YAML, far too long or deep, or a key occurs twice in one section; it names
            file, key and lines.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{place}: {len(text):,} characters of YAML, expected at most {MOST_CHARACTERS:,}.")
    try:
        _refuse_too_deep(text, place)
        loader = LOADER(text)
        try:
            root = loader.get_single_node()
            _refuse_too_much(root, place)
            _refuse_repeated_keys(root, place, (), set())
            return None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    # Of a date that there is none of, or a tag that its value does not have, PyYAML raises errors of Python's own.
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError) as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"{place}: not valid YAML: {what}") from None


def _refuse_too_deep(text: str | bytes, place: Path | str) -> None:
    """To be called before anything is made of the text: libyaml's own recursion ends the process when it is deep."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            line = f", line {event.start_mark.line + 1}" if event.start_mark else ""
            raise ConfigError(f"{place}{line}: sections in more than {MOST_LEVELS} sections.")


def _refuse_too_much(root: yaml.Node | None, place: Path | str) -> None:
    """Refuse what is too deep, or means too many values; an alias within its own section means endlessly many."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > MOST_LEVELS:
            line = node.start_mark.line + 1
            raise ConfigError(f"{place}, line {line}: sections in more than {MOST_LEVELS} sections, or in themselves.")
        if node.tag.endswith(":int") and len(node.value) > MOST_DIGITS:
            line = node.start_mark.line + 1
            raise ConfigError(
                f"{place}, line {line}: a number of {len(node.value)} digits, expected {MOST_DIGITS} at most."
            )
        if id(node) not in sizes:
            children = node.value if isinstance(node, yaml.CollectionNode) else ()
            if isinstance(node, yaml.MappingNode):
                children = [part for pair in node.value for part in pair]
            sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in children)
        return sizes[id(node)]

    if root is not None and size(root, 0) > MOST_VALUES:
        raise ConfigError(f"{place}: means more than {MOST_VALUES:,} values; write out fewer aliases (*name).")


def _refuse_repeated_keys(node: yaml.Node | None, place: Path | str, parents: Parents, visited: set[int]) -> None:
    """Walk through all sections; `visited` are ids of nodes, since an alias (`*name`) is the same node again."""
    if node is None or id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _refuse_repeated_keys(item, place, (*parents, str(index)), visited)
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = (*parents, key.value)
            line = key.start_mark.line + 1
            if first := lines.get((key.tag, key.value)):
                where = f"lines {first} and {line}" if first != line else f"line {line}"
                raise ConfigError(f"{place}, {where}: the key '{'.'.join(name)}' occurs twice. Keep one of the two.")
            lines[key.tag, key.value] = line
            _refuse_repeated_keys(value, place, name, visited)
