"""The report of a run as a file."""

from pathlib import Path

from common.storage import tensorfile
from server.report import evaluation_page
from server.report.run_page import page
from server.report.sentences import Result


def write(path: Path, result: Result) -> None:
    """Write a run's report atomically."""
    content = evaluation_page.page(result) if result.get("kind") == "evaluation" else page(result)
    tensorfile.write_atomically(path, content)
