"""Write what pages say of the code: docs/configuration.md, from the classes, and the tables of docs/errors.md.

python docs/generate.py            writes the pages
python docs/generate.py --check    fails where a page is not what the code says
"""

import ast
import inspect
import sys
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from common import config, refusals  # noqa: E402
from common.config import layer_settings  # noqa: E402
from common.imaging import step_order  # noqa: E402
from common.imaging.augment import Augment  # noqa: E402
from common.plugins import Part  # noqa: E402


def variants(section: str, key: str, union: Any) -> list[tuple[str, type[BaseModel]]]:
    """The classes of a section that is chosen among by one key, each with its title."""
    classes = get_args(get_args(union)[0])
    return [(f"{section}, {key}: {get_args(cls.model_fields[key].annotation)[0]}", cls) for cls in classes]


SECTIONS: list[tuple[str, type[BaseModel]]] = [
    ("The file", config.Config),
    *variants("data", "kind", config.Data),
    ("data.download", config.Download),
    ("sites", config.Sites),
    *variants("preprocess", "step", step_order.AnyStep),
    ("augment", Augment),
    *variants("model", "kind", config.ModelConfig),
    *variants("model.layers", "layer", layer_settings.AnyLayer),
    ("federation", config.Federation),
    ("federation.local", config.Local),
    ("federation.simulate", config.Simulated),
    ("personalise", config.Personalise),
    ("plan", config.PlanTerms),
]

OPENING = """# Configuration

One YAML file is one run. Unknown keys and values out of range are refused, and the error names the key.
`python simulate.py FILE key=value …` lays values over the file: `federation.rounds=3 seeds=[1,2]`.
Paths are relative to the file, else to the working folder. Examples are in `configs/`.

This page is written by `python docs/generate.py` from the classes that check the file.
"""


def page() -> str:
    """The whole page."""
    return OPENING + "".join(section(title, cls) for title, cls in SECTIONS)


def section(title: str, cls: type[BaseModel]) -> str:
    """One class as a table."""
    descriptions: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        if issubclass(ancestor, BaseModel) and ancestor is not BaseModel:
            descriptions |= meanings(ancestor)
    about = " ".join((cls.__doc__ or "").split())
    rows = [row(name, field, descriptions.get(name, "")) for name, field in cls.model_fields.items()]
    head = "| key | value | default | meaning |\n|---|---|---|---|\n"
    return f"\n## {title}\n\n{about}\n\n{head}" + "".join(rows)


def row(name: str, field: FieldInfo, meaning: str) -> str:
    """One key."""
    default = "**needed**" if field.is_required() else f"`{default_in_words(field.default)}`"
    meaning = meaning.replace("|", "\\|")
    return f"| `{name}` | {kind(field)} | {default} | {meaning} |\n"


def kind(field: FieldInfo) -> str:
    """The type and bounds as a person says them."""
    sign = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [f"{sign[k]} {getattr(m, k)}" for m in field.metadata for k in sign if hasattr(m, k)]
    return ", ".join([type_in_words(field.annotation), *bounds])


def type_in_words(annotation: Any) -> str:
    """A type in words."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return "list of steps" if "Window" in repr(annotation) else type_in_words(parts[0])
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_in_words(part) for part in parts if part is not type(None)))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if get_origin(annotation) is tuple:
        return (
            f"list of {type_in_words(parts[0])}"
            if parts[-1] is ...
            else f"[{', '.join(type_in_words(part) for part in parts)}]"
        )
    if annotation is Part:
        return "`DISTRIBUTION:NAME`"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return {str: "text", float: "number", int: "whole number", bool: "true, false", Path: "path"}.get(
        annotation, "names"
    )


def default_in_words(value: object) -> str:
    """A default as it would stand in the file."""
    if isinstance(value, BaseModel):
        return "its own defaults"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def meanings(cls: type[BaseModel]) -> dict[str, str]:
    """The strings that stand below the fields in the class."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101
    texts = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return texts


ENDS = {"again": "again", "question": "for good, this question", "run": "for good"}


def with_tables(text: str) -> str:
    """docs/errors.md with its two tables: of the codes of errors' classes, and of the words beside them."""
    families, words = ([code for code in refusals.CODES if code.isupper() == upper] for upper in (True, False))
    for head, codes in (("| code | ", families), ("| word | ", words)):
        before, _, rest = text.partition(f"\n{head}")
        after = rest.partition("\n\n")[2]
        title = f"{head}what happened | what to do | asked again, it refuses |\n|---|---|---|---|\n"
        text = f"{before}\n{title}{''.join(map(_refusal, codes))}" + (f"\n{after}" if after else "")
    return text


def _refusal(code: str) -> str:
    meaning = refusals.CODES[code]
    return f"| `{code}` | {meaning.happened} | {meaning.advice or '–'} | {ENDS[meaning.ends]} |\n"


if __name__ == "__main__":
    errors = ROOT / "docs" / "errors.md"
    pages = {ROOT / "docs" / "configuration.md": page(), errors: with_tables(errors.read_text(encoding="utf-8"))}
    for target, text in pages.items():
        if sys.argv[1:] != ["--check"]:
            target.write_text(text, encoding="utf-8")
        elif target.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/{target.name} is not what the code says: run `python docs/generate.py`.")
