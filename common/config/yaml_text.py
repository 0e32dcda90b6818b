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


def parse_yaml(text: str | bytes, place: Path | str) -> Any:
    """The values in a YAML text; `place`, the file it is from, is for the errors alone.

    Raises:
        ConfigError: the text is not valid YAML, or a key occurs twice in one section; it names file, key and lines.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            _refuse_repeated_keys(root, place, (), set())
            return None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeError) as error:
        raise ConfigError(f"{place}: not valid YAML: {' '.join(str(error).split())}") from None


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
