"""`python simulate.py` as its user runs it: real files; a process where one tells more than the command in this one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common.secagg.audit import audit
from common.secagg.transcript import read_frames
from common.storage import tensorfile
from common.trust.codec import ByteReader
from common.trust.roster import Pins
from simulate import main

ROOT = Path(__file__).parents[2]
SMALL = ["data.sites=3", "data.cases=40", "data.size=16", "preprocess=[]", "federation.rounds=3"]
ALONE = ["baselines=[]", "personalise.mix=false", "cross_site=false"]
"""Nothing is trained beside the federation."""


def simulate(config: str, out: Path, *more: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "simulate.py", config, "--out", str(out), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def refused(capsys: pytest.CaptureFixture[str], config: str, out: Path, *more: str) -> str:
    """What a command that ends with an error says of it."""
    assert main([str(ROOT / config), "--out", str(out), *more]) == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("runs") / "demo"
    return out, simulate("configs/demo.yaml", out, *SMALL, "seeds=[1,2]", "--transcripts").stdout


def test_a_run_ends_with_everything_that_the_documentation_promises(finished: tuple[Path, str]) -> None:
    out, _ = finished
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert result["format"] == 1
    assert len(result["sites"]) == 3
    for site in result["sites"].values():
        for approach in ("local", "federated", "personalised", "pooled"):
            assert {"auc", "accuracy", "n", "auc_sd"} <= site[approach].keys()
    assert {"local", "federated", "personalised", "pooled"} == result["test"].keys()
    assert len(result["rounds"]) == 6
    assert all(r["seconds"] > 0 and r["bytes_up"] > 0 for r in result["rounds"])
    assert result["config"]["federation"]["rounds"] == 3
    assert "numpy" in result["versions"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    weights, about = tensorfile.load(out / "model.safetensors")
    assert any(name.startswith("weights/") for name in weights)
    assert about["labels"].splitlines() == result["labels"]
    assert "round" in (out / "log.txt").read_text(encoding="utf-8")


def test_the_screen_says_that_synthetic_hospitals_are_synthetic(finished: tuple[Path, str]) -> None:
    out, screen = finished
    assert "synthetic" in screen.splitlines()[0]
    assert "synthetic" in json.loads((out / "result.json").read_text(encoding="utf-8"))["origin"]
    for word in ("local", "federated", "personalised", "pooled", "all test cases"):
        assert word in screen


def test_screen_and_result_say_whether_aggregation_was_secure(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, screen = finished
    assert "the coordinator saw sums over at least 3 of 3 sites, and no site's own numbers" in screen
    told = json.loads((out / "result.json").read_text(encoding="utf-8"))["secure_aggregation"]
    assert told == {"on": True, "sites": 3, "least_in_a_sum": 3, "auditors": 0}
    main(
        [
            str(ROOT / "configs/demo-svm.yaml"),
            "--out",
            str(tmp_path / "plain"),
            *SMALL,
            *ALONE,
            "federation.secure=false",
        ]
    )
    assert "Secure aggregation was OFF" in capsys.readouterr().out
    assert json.loads((tmp_path / "plain" / "result.json").read_text(encoding="utf-8"))["secure_aggregation"] == {
        "on": False
    }


def test_two_hospitals_cannot_hide_from_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "configs/demo-svm.yaml", tmp_path / "out", *SMALL, "data.sites=2")
    assert "2 sites, expected 3 to 200" in told
    assert "federation.secure=false" in told


def test_every_kept_transcript_passes_the_audit(finished: tuple[Path, str]) -> None:
    kept = sorted((finished[0] / "seed-1" / "transcripts").glob("[0-9]*"))
    rounds = [f"000{r}-{kind}" for r in range(3) for kind in ("evaluate", "train")]
    assert [p.name for p in kept] == sorted([*rounds, "0000-statistics"])
    for path in kept:
        with path.open("rb") as file:
            roster = next(read_frames(file))
            file.seek(0)
            members = ByteReader(roster, "roster")
            members.blob(2**20)
            pins = Pins("simulation", (members.raw(34)[2:],))
            assert len(audit(read_frames(file), pins).survivors) == 3


def test_a_finished_run_resumed_says_the_same(finished: tuple[Path, str]) -> None:
    out, _ = finished
    before = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert main([str(ROOT / "configs/demo.yaml"), "--out", str(out), *SMALL, "seeds=[1,2]", "--resume"]) == 0
    assert json.loads((out / "result.json").read_text(encoding="utf-8")) == before


def test_a_folder_that_holds_a_run_is_not_overwritten(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--resume" in refused(capsys, "configs/demo.yaml", finished[0], *SMALL)


def test_a_run_that_failed_before_it_trained_can_be_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text((ROOT / "configs/demo-svm.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "empty.csv").write_text("path,label\n", encoding="utf-8")
    bad = refused(capsys, str(config), tmp_path / "out", "data={kind: manifest, path: empty.csv}")
    assert "empty.csv" in bad
    assert main([str(config), "--out", str(tmp_path / "out"), *SMALL, *ALONE]) == 0


def test_another_configuration_cannot_resume_a_run(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = [*SMALL, "federation.local.batch=8", "--resume"]
    assert "another configuration" in refused(capsys, "configs/demo.yaml", finished[0], *more)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["configs/none.yaml"], "cannot read this configuration"),
        (["configs/demo.yaml", "federation.roundz=3"], "did you mean 'federation.rounds'"),
        (["configs/demo.yaml", "federation.quorum=9", *SMALL], "quorum"),
        (["configs/demo-svm.yaml", *SMALL, "federation.simulate.drop=1"], "nothing was trained"),
        (["configs/demo-svm.yaml", *SMALL, "federation.weight_bound=5"], "raise federation.weight_bound"),
    ],
)
def test_bad_input_gets_one_clear_error(
    arguments: list[str], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, arguments[0], tmp_path / "out", *arguments[1:])
    assert told.startswith("error: ")
    assert hint in told


def test_a_process_ends_with_the_status_of_its_error(tmp_path: Path) -> None:
    assert "cannot read this configuration" in simulate("configs/none.yaml", tmp_path / "out", expect=2).stderr


def test_the_svm_runs_without_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys, simulate\n"
        f"status = simulate.main(['configs/demo-svm.yaml', '--out', {str(tmp_path / 'o')!r}, *{SMALL + ALONE!r},"
        " 'preprocess=[{step: normalise}]'])\n"
        "assert 'tensorflow' not in sys.modules and 'flwr' not in sys.modules\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_sites_that_refuse_are_named_with_their_reason_and_the_run_ends_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, "configs/demo.yaml", tmp_path / "run", *SMALL, "federation.weight_bound=10")
    assert "2 of 3 refused: WEIGHTS (arrays do not fit the model" in told
    assert "raise federation.weight_bound, in a new plan." in told
    assert told.rstrip().endswith("[REFUSED: docs/errors.md]")
    assert "round 2" not in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")


def test_a_simulation_says_who_is_not_in_its_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of three sites is away in every round in which it would count."""
    small = [text for text in SMALL if "sites" not in text]
    more = ["data.sites=4", "seeds=[7]", "federation.simulate={drop: 0.45}"]
    assert main([str(ROOT / "configs/demo.yaml"), "--out", str(tmp_path / "run"), *small, *ALONE, *more]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    parts = result["participation"]
    assert set(parts) == set(result["sites"])
    assert any(part["silent"] for part in parts.values())
    away = [site for site, part in parts.items() if not part["rounds"]]
    assert ("in no sum of the model" in capsys.readouterr().out) == bool(away)
