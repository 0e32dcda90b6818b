"""A configuration is right as a whole, or the error names the key, what was expected, and the file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml

from benchmarks import encoder_from_wheel
from common import config as configuration
from common.algorithms.strategies import STRATEGIES
from common.config import Config, Federation, ModelConfig, PlanTerms
from common.encoders import encoder_library
from common.errors import ConfigError
from common.imaging import Pipeline
from common.models import MODELS
from common.plans.plan import RunPlan
from tests.consortium.consortium import NAMES, Consortium

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "simulate.py", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [path for room in ("client", "server", "common", "simulation") for path in sorted((ROOT / room).rglob("*.py"))]
SMALLEST = {"name": "t", "data": {"kind": "synthetic"}, "sites": {"split": "natural"}, "model": {"kind": "svm"}}


def written(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def minimal(folder: Path, more: str = "") -> Path:
    return written(
        folder, f"name: t\ndata: {{kind: synthetic}}\nsites: {{split: natural}}\nmodel: {{kind: svm}}\n{more}"
    )


@pytest.fixture(scope="module")
def encoder_of_wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The encoder that configurations name, in a library of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONSILIUM_ENCODERS", str(tmp_path_factory.mktemp("encoders")))
        lite = encoder_from_wheel.installed()
        assert lite is not None
        encoder_library.add(lite)
        yield


@pytest.mark.usefixtures("encoder_of_wheel")
@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_configuration_of_the_project_is_valid(path: Path, tmp_path: Path) -> None:
    data = tmp_path / "any.npz"
    data.touch()
    text = path.read_text(encoding="utf-8")
    overrides = [f"data.path={data}"] if "path:" in text else []
    assert configuration.load(path, overrides).name == path.stem


TEMPLATE = ROOT / "configs" / "plan-template.yaml"


def test_every_line_of_the_template_of_a_plan_is_explained() -> None:
    lines = [line for line in TEMPLATE.read_text().splitlines() if line.strip()]
    assert not [line for line in lines if "#" not in line]


def test_the_template_of_a_plan_names_every_key_that_a_plan_has_of_its_own() -> None:
    assert set(yaml.safe_load(TEMPLATE.read_text())["plan"]) == set(PlanTerms.model_fields)


def test_a_plan_is_drawn_up_from_the_template(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    plan = RunPlan.from_config(configuration.load(TEMPLATE), consortium.home.roster, consortium.roots)
    assert plan.content.cohort == NAMES
    assert RunPlan.load_verified(plan.document.encode(), consortium.sites["Lisbon"].pins) == plan
    assert Pipeline(plan.content.training.preprocess).fingerprint() == plan.content.recipe


def test_every_configuration_that_a_page_or_a_help_text_names_exists() -> None:
    names = {(page, name) for page in PAGES for name in re.findall(r"configs/[\w-]+\.yaml", page.read_text("utf-8"))}
    assert len(names) > 20
    assert sorted(f"{page}: {name}" for page, name in names if not (ROOT / name).exists()) == []


@pytest.mark.parametrize(
    ("more", "key", "hint"),
    [
        ("federatoin: {rounds: 3}", "federatoin", "did you mean 'federation'"),
        ("federation: {round: 3}", "federation.round", "did you mean 'federation.rounds'"),
        ("federation: {rounds: 0}", "federation.rounds", "greater than or equal to 1"),
        ("federation: {local: {epochs: 1, steps: 3}}", "federation.local", "not both"),
        ("federation: {strategy: fedbest}", "federation.strategy", "fedavg"),
        ("federation: {strategy: scaffold}", "federation", "sgd"),
        ("federation: {fraction: 0.5}", "(whole file)", "federation.fraction"),
        ("seeds: []", "seeds", "at least 1"),
        ("seeds: [1, 1]", "(whole file)", "every seed once"),
        ("preprocess: [{step: blur}]", "preprocess.0", "gaussian"),
        ("preprocess: [{step: gaussian, sigma: -1}]", "preprocess.0.sigma", "greater than"),
        ("preprocess: [mean]", "preprocess.0", "expected a section"),
        ("operating_point: 2", "operating_point", "less than 1"),
    ],
)
def test_a_fault_is_named_with_its_key_and_what_was_expected(tmp_path: Path, more: str, key: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.load(minimal(tmp_path, more))
    message = str(caught.value)
    assert "c.yaml" in message
    assert f"  {key}" in message
    assert hint in message


@pytest.mark.parametrize(
    ("more", "key", "nearest"),
    [
        ("rounds: 3", "rounds", "federation.rounds"),
        ("epochs: 3", "epochs", "federation.local.epochs"),
        ("federation: {optimizer: sgd}", "federation.optimizer", "federation.local.optimizer"),
        ("federation: {local: {rounds: 3}}", "federation.local.rounds", "federation.rounds"),
        ("federation: {local: {epoch: 3}}", "federation.local.epoch", "federation.local.epochs"),
        ("personalize: {mix: false}", "personalize", "personalise"),
        ("preprocess: [{step: gaussian, sigm: 1}]", "preprocess.0.sigm", "preprocess.0.sigma"),
        ("plan: {dataset: a, label: [a, b], shape: [4, 4, 1]}", "plan.label", "plan.labels"),
        ("augment: {rotate: 3}", "augment.rotate", "augment.rotate_degrees"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_one_and_its_section(
    tmp_path: Path, more: str, key: str, nearest: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.load(minimal(tmp_path, more))
    assert f"  {key}: unknown key; did you mean '{nearest}'?" in str(caught.value).splitlines()


def test_a_key_of_another_kind_of_section_is_none_of_this_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.alphas: unknown key; did you mean 'sites\.alpha'"):
        configuration.load(minimal(tmp_path), ["data.alphas=1"])
    with pytest.raises(ConfigError, match=r"data\.casses: unknown key; did you mean 'data\.classes'"):
        configuration.load(minimal(tmp_path), ["data.casses=2"])


def test_a_key_like_no_other_is_sent_to_the_page_of_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"  zzz: unknown key; see docs/configuration\.md"):
        configuration.load(minimal(tmp_path, "zzz: 3"))


def test_text_that_yaml_reads_as_yes_and_no_is_to_be_put_in_quotes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"  data\.labels\.0: .*in quotes"):
        configuration.load(minimal(tmp_path), ["data.labels=[no, yes]"])


@pytest.mark.parametrize(
    ("text", "lines", "key"),
    [
        ("name: a\nseeds: [1]\nname: b\n", "lines 1 and 3", "name"),
        ("federation:\n  rounds: 3\n  quorum: 2\n  rounds: 4\n", "lines 2 and 4", "federation.rounds"),
        ("preprocess:\n- step: mean\n- step: gaussian\n  step: mean\n", "lines 3 and 4", "preprocess.1.step"),
        ("federation: {local: {batch: 8, batch: 8}}\n", "line 1", "federation.local.batch"),
    ],
)
def test_a_key_that_occurs_twice_is_refused_with_both_lines(tmp_path: Path, text: str, lines: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.load(written(tmp_path, text))
    assert str(caught.value) == f"{tmp_path / 'c.yaml'}, {lines}: the key '{key}' occurs twice. Keep one of the two."


def test_a_key_twice_in_an_override_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'batch' occurs twice"):
        configuration.load(minimal(tmp_path), ["federation.local={batch: 8, batch: 4}"])


def test_the_same_key_in_two_sections_and_an_alias_of_a_section_are_no_repetition(tmp_path: Path) -> None:
    more = "federation: {local: &local {batch: 8}}\npreprocess: [{step: mean}, {step: mean}]"
    assert configuration.load(minimal(tmp_path, more)).federation.local.batch == 8
    shared = "data: &a {kind: synthetic}\nsites: {split: natural}\nmodel: {kind: svm}\nname: *a\n"
    with pytest.raises(ConfigError, match=r"  name: "):
        configuration.load(written(tmp_path, shared))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 things to mend"):
        configuration.load(minimal(tmp_path, "federation: {rounds: -1, quorum: 0}"))


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "name: \x00", "just words"])
def test_what_is_no_configuration_is_refused_without_a_traceback(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        configuration.load(written(tmp_path, text))


def test_a_missing_file_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="configs/"):
        configuration.load(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(ConfigError, match="not a text file"):
        configuration.load(tmp_path / "binary.yaml")


def test_a_missing_path_lists_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of these exists:\n.*nowhere\.npz"):
        configuration.load(minimal(tmp_path), ["data={kind: npz, path: nowhere.npz}"])


def test_the_first_path_that_exists_is_taken_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "b.npz").touch()
    config = configuration.load(minimal(tmp_path), ["data={kind: npz, path: [a.npz, b.npz]}"])
    assert config.data.path == tmp_path / "b.npz"  # type: ignore[union-attr]


def test_overrides_are_laid_over_the_file(tmp_path: Path) -> None:
    config = configuration.load(minimal(tmp_path), ["federation.rounds=3", "seeds=[4,5]", "federation.local.batch=8"])
    assert (config.federation.rounds, config.seeds, config.federation.local.batch) == (3, (4, 5), 8)


@pytest.mark.parametrize("override", ["rounds", "=3", "name.deeper=1", "name=[", "federation.rounds=many"])
def test_a_bad_override_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError):
        configuration.load(minimal(tmp_path), [override])


def test_the_same_configuration_has_the_same_digest_and_another_has_not() -> None:
    one = Config.model_validate(SMALLEST)
    assert one.digest() == Config.model_validate(SMALLEST).digest()
    assert one.digest() != Config.model_validate(SMALLEST | {"seeds": [2]}).digest()


def test_every_kind_and_strategy_that_a_configuration_may_name_is_in_its_registry() -> None:
    kinds = {get_args(settings.model_fields["kind"].annotation)[0] for settings in get_args(get_args(ModelConfig)[0])}
    assert kinds == set(MODELS)
    assert set(get_args(Federation.model_fields["strategy"].annotation)) == {*STRATEGIES, "plugin"}
