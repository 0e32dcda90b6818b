"""A run as a page that people read: one file, without network or script, from the content of result.json alone.

markup    elements, a page of them with its style, and numbers as people read them
charts    axes, ROC, calibration, dots as SVG
curves    learning curves
notes     what is written into them: values under the pointer, names at the ends of lines
learning  rounds as curves, as numbers and as CSV
words     what is to be said in sentences: limits, privacy
page      the report of one run
quality   how good its model is: figures with intervals, ROC, calibration, confusion
provenance  who took part, time and bytes, what made it
heat      models × sites
examination  the report of an evaluation
compare   several runs beside each other
catalogue  what partners offer
"""

from pathlib import Path

from common.storage import tensorfile
from server.report import evaluation_page
from server.report.run_page import page
from server.report.sentences import Result

__all__ = ["page", "write"]


def write(path: Path, result: Result) -> None:
    """Write a run's report atomically."""
    content = evaluation_page.page(result) if result.get("kind") == "evaluation" else page(result)
    tensorfile.write_atomically(path, content)
