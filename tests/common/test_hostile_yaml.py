"""A YAML text may be anything: it is a configuration, or one error that names the file. No traceback."""

import time

import pytest

from common import config as configuration
from common.config import parse_yaml
from common.errors import ConfigError

ALIASES = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 8)}]\n" for i in range(12)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 100_000, "line 1: sections in more than 50 sections"),
        ("{a: " * 5000, "line 1: sections in more than 50 sections"),
        ("- " * 20_000 + "1", "line 1: sections in more than 50 sections"),
        ("a: " + "[" * 60 + "]" * 60, "line 1: sections in more than 50 sections"),
        ("x: 1\na: &a [*a]", "line 2: sections in more than 50 sections, or in themselves"),
        ("a: &a {<<: *a}", "line 1: sections in more than 50"),
        (ALIASES, "means more than 100,000 values"),
        ("x" * (1 << 18), "262,144 characters of YAML"),
        ("a: " + "9" * 6000, "line 1: a number of 6000 digits"),
        ("a: 0x" + "f" * 9000, "line 1: a number of 9002 digits"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: !!timestamp x", "not valid YAML"),
        ("a: !!bool 3", "not valid YAML"),
        ("a: !!binary ///", "not valid YAML"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("? [1]\n: 2", "not valid YAML"),
        ("--- a\n--- b", "not valid YAML"),
        ("a: *nobody", "not valid YAML"),
        (b"\xff\xfe\xfa", "not valid YAML"),
        ("a:\n\t- b", "not valid YAML"),
    ],
)
def test_what_is_hostile_is_one_error_that_names_the_file(text, what):
    started = time.process_time()
    with pytest.raises(ConfigError, match=rf"f\.yaml.*{what}"):
        parse_yaml(text, "f.yaml")
    assert time.process_time() - started < 5


def test_aliases_that_mean_little_are_read():
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]", "f.yaml") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_one_seed_is_a_list_of_one_and_what_must_be_a_list_is_said(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "name: t\ndata: {kind: synthetic}\nsites: {split: natural}\nmodel: {kind: svm}\n", "utf-8"
    )
    assert configuration.load(tmp_path / "c.yaml", ["seeds=7"]).seeds == (7,)
    for override, what in (
        ("seeds=true", "seeds"),
        ("seeds=x", r"seeds: expected a list: \[x\]"),
        ("data.labels=ill", r"data.labels: expected a list: \[ill\]"),
    ):
        with pytest.raises(ConfigError, match=what):
            configuration.load(tmp_path / "c.yaml", [override])
