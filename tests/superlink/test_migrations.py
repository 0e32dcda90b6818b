"""The database is made from wherever the environment lies."""

import shutil
from pathlib import Path

import pytest
from flwr.supercore.state.alembic import utils
from sqlalchemy import create_engine, inspect

from server.superlink.migrations import allow_any_path


@pytest.mark.parametrize("name", ["our hospital", "a, b", "a:b", "100%", "plain"])
def test_tables_are_made_from_an_environment_at_any_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name / "alembic"
    shutil.copytree(utils.ALEMBIC_DIR, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(utils, "ALEMBIC_DIR", folder)
    allow_any_path()
    engine = create_engine(f"sqlite:///{tmp_path / 'state.db'}")
    utils.run_migrations(engine)
    assert {"node", "message_ins", "run"} <= set(inspect(engine).get_table_names())
    engine.dispose()
