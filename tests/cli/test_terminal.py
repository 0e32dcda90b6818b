"""What goes to a pipe is whole at every COLUMNS; on a screen no name is cut, and text is no markup."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from common.cli import terminal
from common.cli.command import CommandParser
from common.cli.harmless import spell_out_what_cannot_be_shown
from common.cli.progress import Watch
from common.cli.terminal import Sheet

NAMES = ("Lisbon", "Hospital-of-Our-Lady-of-the-Sea-and-of-all-Islands", "[bold]Tromsø[/]", "/export/:smile:/a b.png")
WHY = "stopped, since fewer than two thirds of the sites answered in time [QUORUM]"
WIDTHS = ["20", "40", "80", "200"]


def sheet() -> Sheet:
    found = Sheet("site", "figures", "how it ended", prose=("how it ended",), right=("figures",), title="All [sites]")
    for name in NAMES:
        found.add(name, "0.931\n(0.902–0.954)", Text(WHY, "red"))
    return found


def screen(columns: int) -> Console:
    """A terminal of so many columns."""
    return Console(file=io.StringIO(), width=columns, force_terminal=True, color_system=None, soft_wrap=True,
                   markup=False, emoji=False, highlight=False)  # fmt: skip


def on_screen(columns: int, shown: Sheet) -> str:
    console = screen(columns)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_row_is_one_whole_line_in_a_pipe(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    terminal.console().print(sheet())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "All [sites]"
    for name in NAMES:
        (line,) = [line for line in lines if f" {name} " in line]
        assert line.endswith(f" 0.931 (0.902–0.954)  {WHY}")
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_sentence_is_one_line_in_a_pipe_and_a_bracket_in_it_no_markup(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    sentence = " ".join((*NAMES, WHY))
    terminal.console().print(sentence)
    terminal.console(errors=True).print(Text("not used", "red"), sentence)
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"{sentence}\n", f"not used {sentence}\n")


def test_a_pipe_has_no_colours_though_the_environment_asks_for_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal.console().print(sheet())
    with Watch(2.0, terminal.console()) as watch:
        watch.advance(1.0, "[/] of 2 images")
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "[/] of 2 images  (50 %)" in said


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 200])
def test_names_are_whole_on_a_screen_of_any_width(columns: int) -> None:
    said = on_screen(columns, sheet())
    assert all(name in said for name in NAMES)
    assert "…" not in said
    assert " ".join(said.split()).count("answered in") == len(NAMES)


def test_a_narrow_screen_has_a_line_a_cell_and_a_wide_one_a_table() -> None:
    assert "site: Lisbon\nfigures: 0.931\n" in on_screen(40, sheet())
    assert max(map(len, on_screen(120, sheet()).splitlines())) <= 120
    assert " site  " in on_screen(120, sheet())


@pytest.mark.parametrize("columns", [40, 120])
def test_a_table_without_rows_says_what_it_would_show(columns: int) -> None:
    assert "how it ended" in on_screen(columns, Sheet("run", "sites that took part", "how it ended", "rounds"))


@given(
    cells=st.lists(st.tuples(*(st.text("aé語 ", max_size=30),) * 3), min_size=1, max_size=4),
    columns=st.integers(10, 120),
)
def test_whatever_the_cells_nothing_of_a_word_is_lost(cells: list[tuple[str, str, str]], columns: int) -> None:
    shown = Sheet("name", "words", "more", prose=("words", "more"))
    for row in cells:
        shown.add(*row)
    said = on_screen(columns, shown)
    for name, words, more in cells:
        assert name.strip() in said
        assert sum(said.count(letter) for letter in "é語") == sum("".join(row).count(x) for row in cells for x in "é語")
        assert all(word in said for word in (words + " " + more).split() if len(word) < 5)


@pytest.mark.parametrize("columns", WIDTHS)
def test_help_is_not_wrapped_in_a_pipe(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    parser = CommandParser("python -m client")
    inner = parser.add_subparsers().add_parser("access")
    inner.add_argument("--purposes", metavar="P,P", help=WHY)
    inner.print_help()
    assert capsys.readouterr().out.splitlines()[0] == "usage: python -m client access [-h] [--purposes P,P]"
    assert f"--purposes P,P  {WHY}" in inner.format_help()


def test_a_letter_that_a_pipe_cannot_carry_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", pipe)
    spell_out_what_cannot_be_shown()
    terminal.console().print(sheet())
    assert b"Troms\\xf8" in pipe.buffer.getvalue()  # type: ignore[attr-defined]
