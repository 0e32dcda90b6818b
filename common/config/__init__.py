"""One run's configuration: a YAML file, checked once at the edge, then frozen.

    load("configs/demo.yaml", ["federation.rounds=3"])      a file with overrides laid over it

Unknown keys are refused, values out of range are refused, and every error names file, key, and what was expected.
A module a subject: `data_settings`, `model_settings`, `federation_settings`, and `run_settings` with the whole of it;
`config_file` reads, `yaml_text` parses, `config_faults` says what is wrong. Every key is in docs/configuration.md.

A name is imported with its module when it is asked for: whoever has settings of its own, as both sides' folders do,
does not wait for those of a run, which bring the preprocessing and NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.config.config_faults import first_fault, readable
    from common.config.config_file import from_tree, lay_over, load, resolve_data
    from common.config.data_settings import (
        DRAWN,
        Column,
        Data,
        DataSource,
        Download,
        Encrypted,
        Folder,
        Manifest,
        Npz,
        Sites,
        Synthetic,
        WithFindings,
    )
    from common.config.federation_settings import Federation, Local, Simulated
    from common.config.model_settings import Cnn, Described, ModelConfig, Network, PluginNetwork, Svm
    from common.config.privacy_settings import Privacy
    from common.config.run_settings import Config, Personalise, PlanTerms, Training
    from common.config.section import Count, Fraction, Frozen, Line, Positive, Shape
    from common.config.yaml_text import parse_yaml

__all__ = [
    "DRAWN",
    "Cnn",
    "Column",
    "Config",
    "Count",
    "Data",
    "DataSource",
    "Described",
    "Download",
    "Encrypted",
    "Federation",
    "Folder",
    "Fraction",
    "Frozen",
    "Line",
    "Local",
    "Manifest",
    "ModelConfig",
    "Network",
    "Npz",
    "Personalise",
    "PlanTerms",
    "PluginNetwork",
    "Positive",
    "Privacy",
    "Shape",
    "Simulated",
    "Sites",
    "Svm",
    "Synthetic",
    "Training",
    "WithFindings",
    "first_fault",
    "from_tree",
    "lay_over",
    "load",
    "parse_yaml",
    "readable",
    "resolve_data",
]

_MODULES = (
    "section", "yaml_text", "config_faults", "data_settings", "privacy_settings", "model_settings",
    "federation_settings", "run_settings", "config_file",
)  # fmt: skip
"""The light ones first: a name is looked for in one after the other."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        for module in _MODULES if name in __all__ else ():
            if hasattr(place := import_module(f"{__name__}.{module}"), name):
                return globals().setdefault(name, getattr(place, name))
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
