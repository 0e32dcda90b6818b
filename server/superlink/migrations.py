"""Flower's database can be made in an environment whose path has a blank, a comma or a colon.

Flower names the folder of its migrations to Alembic in a list that is separated by blanks (flwr 1.42,
supercore/state/alembic/utils.py). From `/srv/our hospital/.venv` Alembic then finds no migration, makes no table, and
raises nothing: the SuperLink answers all that it is asked with 500. Here the list has a line a folder.
"""

from collections.abc import Sequence
from pathlib import Path

from alembic.config import Config
from flwr.supercore.state.alembic import utils
from sqlalchemy import Engine


def allow_any_path() -> None:
    """Call it in every process that opens the database, before it does. A second call changes nothing."""
    utils.build_alembic_config = build_config


def build_config(engine: Engine) -> Config:
    """What Flower's `build_alembic_config` makes, with the folders of migrations on lines of their own."""
    config = Config()
    _set(config, "script_location", [utils.ALEMBIC_DIR])
    _set(config, "sqlalchemy.url", [engine.url.render_as_string(hide_password=False)])
    _set(config, "path_separator", ["newline"])
    _set(config, "version_locations", [utils.ALEMBIC_DIR / "versions", *utils._version_locations])
    return config


def _set(config: Config, name: str, values: Sequence[str | Path]) -> None:
    config.set_main_option(name, "\n".join(map(str, values)).replace("%", "%%"))  # it would be interpolated
