"""Flower's database can be made in an environment whose path has a blank, a comma or a colon.

Flower names the folder of its migrations to Alembic in a list that is separated by blanks (flwr 1.42,
supercore/state/alembic/utils.py). From `/srv/our hospital/.venv` Alembic then finds no migration, makes no table, and
raises nothing: the SuperLink answers all that it is asked with 500. Here the list has a line a folder.
"""

from pathlib import Path

from alembic.config import Config
from flwr.supercore.state.alembic import utils
from sqlalchemy import Engine

_build_config = utils.build_alembic_config


def allow_any_path() -> None:
    """Call it in every process that opens the database, before it does. A second call changes nothing."""
    utils.build_alembic_config = build_config


def build_config(engine: Engine) -> Config:
    """Flower's configuration of Alembic, with the folders of migrations on lines of their own."""
    config = _build_config(engine)
    folders = [utils.ALEMBIC_DIR / "versions", *utils._version_locations]
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(Path(folder)).replace("%", "%%") for folder in folders))
    config.set_main_option("script_location", str(utils.ALEMBIC_DIR).replace("%", "%%"))
    return config
