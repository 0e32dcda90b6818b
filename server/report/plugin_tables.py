"""The figures that plug-ins read off the counts, at every site: a table each."""

from xml.etree.ElementTree import Element

from common.metrics import plugin_metric
from common.web.markup import table
from server.report import verdicts
from server.report.charts import spelled
from server.report.quality_section import with_interval
from server.report.sentences import Result


def section(result: Result) -> list[Element]:
    """Of a simulation, which alone knows single sites; empty where no plug-in adds a figure."""
    ways = list(result["test"])
    rows = [*result["sites"].items(), (verdicts.MEAN, result["sites_mean"]), (verdicts.TOGETHER, result["test"])]
    return [
        table(
            f"{name} on test cases, at the operating point",
            ["site", *map(spelled, ways)],
            [[title, *(with_interval(row[way], name) for way in ways)] for title, row in rows],
            foot=2,
        )
        for name in plugin_metric.names(result["config"])
    ]
