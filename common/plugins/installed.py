"""The wheels that are installed here: the digest of their files, and the parts that they offer."""

import hashlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from common.errors import PluginError
from common.plugins import notebook_parts

if TYPE_CHECKING:
    from common.plugins.part import Part

PartKind = Literal["steps", "models", "strategies", "metrics"]
KINDS: dict[PartKind, str] = {kind: f"consilium.{kind}" for kind in ("steps", "models", "strategies", "metrics")}
"""Entry-point groups by kind of part."""
CODE = {".py", ".so", ".pyd"}
OF_THE_INSTALLER = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
"""Files of the metadata that pip writes, and that are not of the wheel."""
_IMPORTED: dict[str, str] = {}
"""By name, the digest of each plug-in when this process imported it."""


@dataclass(frozen=True)
class InstalledPlugin:
    """One distribution as it is installed here."""

    name: str
    version: str
    sha256: str
    """Over names and contents of its RECORD's files, scripts and compiled code apart."""
    files: frozenset[Path]

    def refuse_other(self, sha256: str | None) -> None:
        """Refuse to stand for another wheel.

        Raises:
            PluginError: plugin-differs.
        """
        if sha256 not in (None, self.sha256):
            raise PluginError(
                "plugin-differs",
                f"plug-in {self.name} is expected with digest {str(sha256)[:16]}…; installed is version "
                f"{self.version}, {self.sha256[:16]}…. Install the very wheel that the others have.",
            )

    def refuse_strange_code(self, module: str) -> None:
        """Refuse code that the digest is not of: another package of that name, or a file that somebody put beside it.

        Raises:
            PluginError: plugin-differs, naming the file.
        """
        spec = importlib.util.find_spec(module.partition(".")[0])  # of the top package, which imports nothing yet
        origin = Path(spec.origin).resolve() if spec and spec.origin else Path(module)
        code = [origin]
        if origin.name == "__init__.py":
            code += [path.resolve() for path in origin.parent.rglob("*") if path.suffix in CODE]
        if strange := [path for path in code if path not in self.files]:
            raise PluginError(
                "plugin-differs",
                f"plug-in {self.name}: {strange[0]} is none of its wheel's files (is it installed in place, or is "
                "another package of that name before it?). Install its wheel: pip install FILE.whl",
            )


def find_plugin(name: str) -> InstalledPlugin:
    """A distribution that is installed here; nothing of it is imported.

    Raises:
        PluginError: plugin-absent; or plugin-differs, where files of it are gone.
    """
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise PluginError(
            "plugin-absent", f"plug-in {name} is not installed here. Whoever asks for it gives you its wheel: read it, "
            "then pip install FILE.whl",
        ) from None  # fmt: skip
    sha, paths = hashlib.sha256(), set[Path]()
    for file in sorted(distribution.files or (), key=lambda file: file.as_posix()):
        if file.parts[0] == ".." or file.suffix == ".pyc" or file.name in OF_THE_INSTALLER:
            continue
        path = Path(str(distribution.locate_file(file)))
        try:
            content, part = path.read_bytes(), file.as_posix().encode()
        except OSError as error:
            raise PluginError(
                "plugin-differs", f"plug-in {name}: {path}: {error.strerror}. Install it again."
            ) from None
        sha.update(len(part).to_bytes(4, "little") + part + len(content).to_bytes(8, "little") + content)
        paths.add(path.resolve())
    return InstalledPlugin(name, distribution.version, sha.hexdigest(), frozenset(paths))


def offered_parts(name: str) -> dict[PartKind, list[str]]:
    """What an installed distribution offers, by kind; nothing of it is imported."""
    points = metadata.distribution(find_plugin(name).name).entry_points
    return {kind: sorted(point.name for point in points if point.group == group) for kind, group in KINDS.items()}


def load_part(kind: PartKind, part: "Part") -> Any:
    """What a part's entry point names, imported if it is the very wheel that the configuration or the plan names.

    Raises:
        PluginError: it is not installed, another is, or it offers no such part.
    """
    if part.plugin == notebook_parts.PLUGIN:
        return notebook_parts.part_of_notebook(kind, part.name, part.sha256 or "")
    return _load_installed(kind, part)


@lru_cache(maxsize=64)
def _load_installed(kind: PartKind, part: "Part") -> Any:
    plugin = find_plugin(part.plugin)
    if part.sha256 is None:
        raise PluginError("plugin-differs", f"{part}: without a digest, expected that of its wheel. Load it by a file.")
    plugin.refuse_other(part.sha256)
    points = metadata.distribution(part.plugin).entry_points.select(group=KINDS[kind])
    if not (match := [point for point in points if point.name == part.name]):
        names = ", ".join(point.name for point in points) or "none"
        raise PluginError(
            "plugin-absent", f"plug-in {part.plugin} has no {part.name} among its {kind}; it has: {names}."
        )
    plugin.refuse_strange_code(match[0].module)
    if _IMPORTED.setdefault(part.plugin, plugin.sha256) != plugin.sha256:
        raise PluginError(
            "plugin-differs", f"plug-in {part.plugin} was replaced while this process ran: start it again."
        )
    try:
        return match[0].load()
    except Exception as error:  # whatever code of others does
        raise PluginError("plugin-fails", f"{part} cannot be imported: {type(error).__name__}: {error}") from error


def run_part(part: "Part", function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """What a part's function makes of its arguments.

    Raises:
        PluginError: plugin-fails, whatever it raised.
    """
    try:
        return function(*arguments, **settings)
    except Exception as error:
        raise PluginError("plugin-fails", f"{part} raised {type(error).__name__}: {error}") from error


def checked_settings(part: "Part", function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a part's function declares them: its keyword-only parameters, with their types and defaults.

    Raises:
        PluginError: plugin-settings, naming the first that is wrong.
    """
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    checker: type[BaseModel] = create_model("declared", __config__=ConfigDict(extra="forbid"), **fields)
    try:
        return checker.model_validate(dict(settings)).model_dump()
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise PluginError(
            "plugin-settings", f"{part}: {key}: {fault['msg']}. Its settings are: {', '.join(fields) or 'none'}."
        ) from None
