"""What a hostile hospital or coordinator tries with the catalogue: to blind the others, to fill disks, to be taken for
something else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from common.catalogue import Content, Offer
from common.catalogue.making import Said, of_file
from tests.catalogue.fair import Fair


def plan(fair: Fair, owner: str = "Lisbon", **changed: Any) -> Content:
    """What a hospital could offer."""
    told, _ = of_file(fair.consortium.folder / "config.yaml", Said(), "pilot", owner, {})
    return told.model_copy(update=changed)


def take(fair: Fair, content: Content) -> None:
    """As the coordinator does."""
    offer = Offer.make(content, [fair.consortium.sites[content.owner].identity])
    fair.catalogue.take(content.owner, offer.paper.encode())


# --- entries that are read by others --------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["[/foo]", "[b]bold[/b]", ":warning:"])
def test_what_others_wrote_is_no_markup_of_the_terminal(
    fair: Fair, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    take(fair, plan(fair, title=title))
    assert fair.at("Nairobi") == 0
    assert title in capsys.readouterr().out
    assert fair.here() == 0
    assert title in capsys.readouterr().out


@pytest.mark.parametrize("end", ["\u2028", "\u2029"])
def test_a_title_adds_nothing_to_the_configuration_that_is_taken(fair: Fair, end: str, tmp_path: Path) -> None:
    """YAML ends a comment at these too."""
    take(fair, plan(fair, name="ours", title=f"Ours{end}output: elsewhere"))
    assert fair.here("take", "Lisbon/ours", "--out", tmp_path / "taken.yaml") == 0
    assert yaml.safe_load((tmp_path / "taken.yaml").read_text()).keys() >= {"plan", "data"}
    assert "output" not in yaml.safe_load((tmp_path / "taken.yaml").read_text())
