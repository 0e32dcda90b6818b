"""What people read: whole in a pipe or a file, and on a screen no name is cut.

A pipe has no width: whatever COLUMNS says, nothing that goes there is wrapped, cut or shortened, and a row of a table
is one line, so that `grep` finds it. On a screen a `Sheet` whose names and figures do not fit beside each other becomes
a list, a line a cell. Text is text: only what the program styles has colours, and brackets in a name are no markup.

Names that come from outside are made harmless (`common.cli.harmless`), here as wherever something is printed.
"""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from common.cli.harmless import UNBOUNDED, HarmlessStream, NamedStream, harmless

READABLE = 24
"""Columns below which prose is not squeezed on a screen."""

Cell = str | Text


class _HarmlessConsole(Console):
    """A console whose own styles are the only escapes that it writes."""

    def on_broken_pipe(self) -> None:
        """Who reads has gone: the command line says with which status that ends, not Rich.

        Raises:
            BrokenPipeError: always.
        """
        raise BrokenPipeError

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What is to be printed, piece by piece."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(harmless(piece.text), piece.style)


def console(*, errors: bool = False) -> Console:
    """The standard output, or the standard error stream, to print for people."""
    stream = sys.stderr if errors else sys.stdout
    raw = stream.raw if isinstance(stream, HarmlessStream) else stream
    screen = raw.isatty()
    return _HarmlessConsole(
        file=cast(TextIO, NamedStream(raw)), soft_wrap=True, width=None if screen else UNBOUNDED,
        force_terminal=screen, markup=False, emoji=False, highlight=False,
    )  # fmt: skip


def first(items: Sequence[str], console: Console, most: int = 20) -> list[str]:
    """The first of many on a screen, and how many more there are; in a pipe or a file all of them."""
    if not console.is_terminal or len(items) <= most:
        return list(items)
    return [*items[:most], f"and {len(items) - most} more; to a file all are written"]


def word(path: Path | str) -> str:
    """A path as it is typed in a command, with blanks and all."""
    return shlex.quote(str(path))


class Sheet:
    """A table for people.

    Args:
        columns: their headings.
        prose: those of them whose cells may be wrapped on a screen, between words; all others stay whole.
        right: those that are aligned to the right.
    """

    def __init__(self, *columns: str, prose: Iterable[str] = (), right: Iterable[str] = (), title: str = "") -> None:
        self._columns, self._prose, self._right, self._title = columns, frozenset(prose), frozenset(right), title
        self._rows: list[list[Text]] = []
        self._ruled: set[int] = set()

    def add(self, *cells: Cell) -> None:
        """One more row."""
        self._rows.append([cell if isinstance(cell, Text) else Text(harmless(cell)) for cell in cells])

    def rule(self) -> None:
        """A gap below what is there so far."""
        self._ruled.add(len(self._rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType | Segment]:
        rows = self._rows if console.is_terminal else [[_one_line(cell) for cell in row] for row in self._rows]
        if (widths := self._widths(rows, options.max_width)) is None:
            yield from self._stack(rows)
            return
        for line in console.render_lines(self._beside(rows, widths), options, pad=False):
            yield from _without_blank_end(line)
            yield Segment.line()

    def _widths(self, rows: Sequence[Sequence[Text]], width: int) -> list[int] | None:
        """How wide each column is; None where a name would have to be cut."""
        cells = [[Text(name), *(row[i] for row in rows)] for i, name in enumerate(self._columns)]
        most = [max(line.cell_len for cell in column for line in cell.split(allow_blank=True)) for column in cells]
        least = [self._least(*sized) for sized in zip(self._columns, cells, most, strict=True)]
        spare = width - sum(least) - 2 * len(least) - 1
        if spare < 0:
            return None
        wants = sorted((much - little, i) for i, (much, little) in enumerate(zip(most, least, strict=True)))
        for place, (want, i) in enumerate(wants):  # who wants little gets it, and the rest is shared
            more = min(want, spare // (len(wants) - place))
            least[i], spare = least[i] + more, spare - more
        return least

    def _least(self, name: str, cells: Sequence[Text], most: int) -> int:
        if name not in self._prose:
            return most
        words = (word for cell in cells for word in cell.plain.split())
        return min(most, max([READABLE, *(Text(word).cell_len for word in words)]))

    def _beside(self, rows: Sequence[Sequence[Text]], widths: Sequence[int]) -> Table:
        title = Text(self._title, "bold") if self._title else None
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name, width in zip(self._columns, widths, strict=True):
            wrapped, side = name in self._prose, "right" if name in self._right else "left"
            table.add_column(Text(name), width=width, no_wrap=not wrapped, justify=side)  # type: ignore[arg-type]
        for number, row in enumerate(rows, start=1):
            table.add_row(*row, end_section=number in self._ruled)
        return table

    def _stack(self, rows: Sequence[Sequence[Text]]) -> Iterator[Text]:
        if self._title:
            yield Text(self._title, "bold")
        if not rows:
            yield Text(f"\n(nothing yet: {', '.join(self._columns)})", "dim")
        for row in rows:
            yield Text()
            for name, cell in zip(self._columns, row, strict=True):
                line = Text.assemble((f"{name}: ", "dim"), cell)
                line.no_wrap, line.overflow = name not in self._prose, "fold" if name in self._prose else "ignore"
                if cell.plain:
                    yield line


def _one_line(cell: Text) -> Text:
    return Text(" ").join(cell.split())


def _without_blank_end(line: list[Segment]) -> list[Segment]:
    """A line without the blanks that fill it up to the table's width."""
    while line and not line[-1].text.strip(" "):
        line = line[:-1]
    return line and [*line[:-1], Segment(line[-1].text.rstrip(" "), line[-1].style)]
