"""Names from outside are printed harmless, whatever prints them; a closed pipe is no fault."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

from common.cli import terminal
from common.cli.harmless import harmless, legible, spell_out_what_cannot_be_shown
from common.cli.terminal import Sheet
from tests.sources.small_images import write_images

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\u202egnp.",
    "\u2066",
    "\r",
    "\x08",
    "\x00",
    "\u2028",
    "\udc80",
    "\x7f",
    "\u061c",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_moves_a_cursor_or_turns_writing_is_spelt_out(text):
    for shown in (harmless(f"a{text}b"), legible(f"a{text}b")):
        assert shown.encode().decode().isprintable()
        assert shown.startswith("a\\")
        assert harmless(shown) == legible(shown) == shown


def test_lines_stay_lines_and_names_end_none():
    assert harmless("one\ttwo\nthree") == "one\ttwo\nthree"
    assert legible("one\ttwo\nthree\u200b") == "one\\ttwo\\nthree\\u200b"
    assert harmless("grün 心电图 می‌خواهم") == legible("grün 心电图 می‌خواهم") == "grün 心电图 می‌خواهم"


@pytest.mark.parametrize("text", [t for t in HOSTILE if t != "\udc80"])
def test_every_way_of_printing_goes_through_the_one_place(monkeypatch, text):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.StringIO())
    raw = sys.stdout
    spell_out_what_cannot_be_shown()
    spell_out_what_cannot_be_shown()
    console, sheet = terminal.console(), Sheet(f"head{text}", "b", prose=("b",), title=f"title{text}")
    sheet.add(f"cell{text}", Text(f"styled{text}", "red"))
    console.print(f"console{text}", Text(f"text{text}", "bold"))
    console.print(sheet)
    print(f"print{text}")
    print(f"error{text}", file=sys.stderr)
    shown = raw.getvalue() + sys.stderr.getvalue()
    assert text not in shown
    for word in ("head", "title", "cell", "styled", "console", "text", "print", "error"):
        assert word in shown


def test_styles_of_the_program_are_left_on_a_screen(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", Screen())
    raw = sys.stdout
    spell_out_what_cannot_be_shown()
    terminal.console().print(Text("red\x1b[2J", "red"))
    assert raw.getvalue().startswith("\x1b[31m")
    assert "\x1b[2J" not in raw.getvalue()


def client(*arguments, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "client", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_names_of_files_columns_and_labels_are_harmless_in_what_check_says(tmp_path):
    images = write_images(tmp_path, [f"{i}\x1b[2J.png" for i in range(40)])
    rows = "".join(f"{i}\x1b[2J.png,{'ill' if i % 2 else 'well'}\x1b[31m\u202e,x\n" for i in range(40))
    head, last = "path,label,note\x1b]0;x\x07\n", "none\x9b.png,ill\x1b[31m\u202e,x\n"
    (images / "list.csv").write_text(head + rows + last, encoding="utf-8")
    (tmp_path / "c.yaml").write_text(
        "name: t\ndata: {kind: manifest, path: list.csv, cache: cache, on_error: report}\n"
        "sites: {split: iid, count: 2}\nmodel: {kind: svm}\n",
        encoding="utf-8",
    )
    done = client("check", tmp_path / "c.yaml", cwd=tmp_path)
    for text in ("\x1b", "\u202e", "\x07", "\x9b"):
        assert text not in done.stdout + done.stderr
    assert "\\x1b[31m\\u202e" in done.stdout
    assert "columns of list.csv: note\\x1b]0;x\\x07" in done.stdout


def test_a_reader_that_goes_away_is_no_full_disk(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for program in (("client", "--help"), ("client", "check", "configs/demo.yaml")):
        command, pipe = [sys.executable, "-m", *program], subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True) as process:
            process.stdout.close()
            said = process.stderr.read()
            assert process.wait() in (0, 141)
        assert "DISK" not in said
        assert "Traceback" not in said
        assert "Exception ignored" not in said
