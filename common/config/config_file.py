"""From a YAML file to a checked configuration, with overrides laid over it and its paths resolved."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.config.config_faults import readable
from common.config.data_settings import Data, Encrypted, Npz, Synthetic
from common.config.model_settings import PluginNetwork, Svm
from common.config.run_settings import Config
from common.config.yaml_text import parse_yaml
from common.errors import ConfigError, EncoderError, PluginError
from common.imaging.embedding import Embed
from common.imaging.plugin_step import PluginStep
from common.plugins import checked_settings, load_part
from common.storage.lent_path import LentPath


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, lay `key.key=value` overrides over it, and check all of it.

    Raises:
        ConfigError: naming the file, the key, and what was expected.
    """
    path = path if isinstance(path, LentPath) else _there_or_installed(Path(path))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read this configuration ({error.strerror}). Examples are in configs/."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file; expected YAML as in configs/demo.yaml.") from None
    tree = parse_yaml(text, path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections such as data, sites and model, as in configs/demo.yaml.")
    for override in overrides:
        lay_over(tree, override)
    return from_tree(tree, path)


def _there_or_installed(path: Path) -> Path:
    """The path, or where an installed release has it: `configs/demo.yaml` works in any folder."""
    installed = Path(sys.prefix) / "share" / "consilium" / path
    return installed if not path.exists() and path.parts[:1] == ("configs",) and installed.exists() else path


def from_tree(tree: dict[str, Any], path: Path) -> Config:
    """A configuration from what a file holds; paths in it are relative to the file.

    Raises:
        ConfigError: naming the file, the key, and what was expected.
    """
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(readable(path, error, Config)) from None
    return _resolve_paths(_settle_plugins(_settle_encoders(config, path), path), path.resolve().parent)


def lay_over(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key; the value is read as YAML, so `seeds=[1,2]` and `federation.rounds=3` both work.

    Raises:
        ConfigError: it is not key=value, or the value is not valid YAML.
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}': expected key=value, for example federation.rounds=3.")
    *parents, last = key.strip().split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"'{override}': {parent} holds a value, not a section.")
    tree[last] = parse_yaml(value, f"'{override}'")


def _settle_encoders(config: Config, path: Path) -> Config:
    """With the digest of each encoder that the preprocessing names, and what the configuration leaves to it."""
    try:
        steps = tuple(step.settled() if isinstance(step, Embed) else step for step in config.preprocess)
    except EncoderError as error:
        raise EncoderError(f"{path}: preprocess: {error}") from None
    settled = config.model_copy(update={"preprocess": steps})
    embed = next((step for step in steps if isinstance(step, Embed)), None)
    if embed is None or not isinstance(config.model, Svm) or config.model.features != "unit":
        return settled
    parts = config.model.parts or embed.channels_of_layers()
    return settled.model_copy(update={"model": config.model.model_copy(update={"parts": parts})})


def _settle_plugins(config: Config, path: Path) -> Config:
    """With version and digest of each plug-in that the configuration names, whose settings are checked.

    Raises:
        PluginError: naming the file and the part.
    """
    if not config.parts():
        return config
    try:
        model, part = config.model, config.federation.part
        update: dict[str, object] = {
            "preprocess": tuple(s.settled() if isinstance(s, PluginStep) else s for s in config.preprocess),
            "federation": config.federation.model_copy(update={"part": part and part.settled()}),
            "metrics": tuple(metric.settled() for metric in config.metrics),
        }
        if isinstance(model, PluginNetwork):
            settled = model.part.settled()
            checked_settings(settled, load_part("models", settled), model.settings)
            update["model"] = model.model_copy(update={"part": settled})
    except PluginError as error:
        raise PluginError(error.cause, f"{path}: {error}") from None
    return config.model_copy(update=update)


def _resolve_paths(config: Config, base: Path) -> Config:
    return config.model_copy(update={"data": resolve_data(config.data, base)})


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True  # for others: whoever opens it will say


def _candidates(path: Path, base: Path) -> list[Path]:
    return [path] if path.is_absolute() else [base / path, Path.cwd() / path]


def resolve_data(data: Data, base: Path) -> Data:
    """Resolve the data paths: relative to the config file, else to the working folder; the first that exists.

    Raises:
        ConfigError: none of them does.
    """
    if isinstance(data, Synthetic):
        return data
    paths = data.path if isinstance(data.path, tuple) else (data.path,)
    candidates = [c for p in paths for c in _candidates(p.expanduser(), base)]
    # An encrypted set is known by its name and by the site's folder around it, also where it is a link to another disk.
    resolve = Path.absolute if isinstance(data, Encrypted) else Path.resolve
    path = next((resolve(c) for c in candidates if _is_there(c)), None)
    if path is None:
        if isinstance(data, Npz) and data.download:
            target = (base / paths[-1].expanduser()).resolve()
            return data.model_copy(update={"path": target})
        tried = "\n".join(f"  {c}" for c in dict.fromkeys(candidates))
        raise ConfigError(f"data.path: none of these exists:\n{tried}\nGive another with data.path=/where/it/is.")
    update: dict[str, object] = {"path": path}
    if isinstance(data, Encrypted) and data.home:
        update["home"] = base / data.home.expanduser()
    return data.model_copy(update=update)
