"""The command lines, as people type them: what they teach, what they refuse, and never a traceback."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from client import __main__ as hospital
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from common.cli.command import CommandTable, parse
from common.storage.files import write_json
from server import __main__ as coordinator
from server.consortium.home import Home
from server.rounds.round_record import RoundRecord
from server.runs.run import Run
from server.superlink.exchange_progress import ExchangeProgress
from tests.admitted import home_of
from tests.consortium.consortium import NAMES, SVM, Consortium

ROOT = Path(__file__).parents[2]
Main = Callable[[list[str]], int]
MAINS: dict[str, Main] = {"server": coordinator.main, "client": hospital.main}
COMMANDS: dict[str, CommandTable] = {"server": coordinator.COMMANDS, "client": hospital.COMMANDS}
EVERY = [(who, name) for who, commands in COMMANDS.items() for name in commands]


def typed(who: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, without a terminal."""
    command = [sys.executable, "-m", who, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL)


def refused(capsys: pytest.CaptureFixture[str], who: str, *arguments: str | Path) -> str:
    """The error of a command that ends in one."""
    capsys.readouterr()
    assert MAINS[who]([*map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert re.search(r"^error: .* \[[A-Z]+(, [a-z-]+)?: docs/errors\.md\]$", said, re.DOTALL | re.MULTILINE)
    assert "Traceback" not in said
    return said


def shown_fingerprint(said: str) -> str:
    (found,) = re.findall(r"^ +(\d{5}(?: \d{5}){5})$", said, re.MULTILINE)
    return str(found)


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


# --- what they teach ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("who", "name"), EVERY, ids=[f"{who}-{name}" for who, name in EVERY])
def test_every_command_explains_itself_with_an_example(who: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[who]([name, "--help"])
    assert ended.value.code == 0
    assert f"\n  python -m {who} {name}" in capsys.readouterr().out


@pytest.mark.parametrize("who", COMMANDS)
def test_the_first_help_names_every_command(who: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        MAINS[who](["--help"])
    listed = "\n".join(re.findall(rf"^    python -m {who} (.*)", capsys.readouterr().out, re.MULTILINE))
    assert not [name for name in COMMANDS[who] if not re.search(rf"\b{name}\b", listed)]


@pytest.mark.parametrize("who", COMMANDS)
@pytest.mark.parametrize("arguments", [[], ["dance"], ["init"]])
def test_what_is_no_command_ends_in_usage(who: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[who](arguments)
    assert ended.value.code == 2
    assert f"usage: python -m {who}" in capsys.readouterr().err


# --- joining, from the first command to new keys --------------------------------------------------------------------


@pytest.mark.parametrize("at", range(4))
def test_an_option_stands_anywhere_among_the_words(at: int) -> None:
    words = ["chest.yaml", "federation.rounds=2", "seeds=[1]"]
    line = ["run", *words[:at], "--no-follow", *words[at:]]
    _, options = parse("python -m server", None, COMMANDS["server"], line)
    assert (options.config, options.overrides, options.no_follow) == (words[0], words[1:], True)


def test_a_consortium_is_made_joined_left_and_joined_again_by_typing(tmp_path: Path) -> None:
    home, site = tmp_path / "consortium", tmp_path / "site"

    def server(*arguments: str | Path) -> str:
        done = typed("server", *arguments, "--home", home)
        said = [
            line for line in done.stderr.splitlines() if "root.key lies in the clear: whoever copies it" not in line
        ]
        assert (done.returncode, said) == (0, []), done.stderr
        return done.stdout

    def client(*arguments: str | Path) -> str:
        done = typed("client", *arguments, "--home", site)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    made = server("init", "pilot", "--no-passphrase", "--address", "train.hospital.example:8443")
    own = shown_fingerprint(client("init", "lisbon", "--contact", "Ana Sousa, +351 …"))
    request, welcome = site / "lisbon.request", home / "welcomes" / "lisbon.welcome"

    unasked = typed("server", "admit", request, "--home", home)  # no terminal, nobody to answer
    assert (unasked.returncode, shown_fingerprint(unasked.stdout)) == (2, own)
    assert "Ana Sousa, +351 …" in unasked.stdout
    assert "nobody was admitted" in unasked.stderr
    assert "[IDENTITY, fingerprint: docs/errors.md]" in unasked.stderr
    assert not welcome.exists()

    assert "roster version 2, 1 active members" in server("admit", request, "--fingerprint", own)
    shown = shown_fingerprint(made)
    assert "Joined." in client("join", welcome, "--fingerprint", shown.replace(" ", ""))
    assert "roster version 3, 0 active members" in server("revoke", "lisbon")
    new = shown_fingerprint(client("rekey", "--contact", "Ana"))
    assert new != own
    assert "version 4, 1 active members" in server("admit", request, "--fingerprint", new, "--new-keys")
    assert hospital.main(["join", str(welcome), "--fingerprint", shown, "--home", str(site)]) == 0
    assert "Roster version 5, valid until" in server("renew", "--days", "30")
    assert home_of(site).roster.version == 4
    assert Home(home).roster.version == 5


def test_a_wrong_fingerprint_pins_nothing_and_admits_nobody(
    consortium: Consortium, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, wrong = tmp_path / "quito", "12345 " * 6
    assert hospital.main(["init", "quito", "--home", str(new)]) == 0
    home = consortium.home.folder
    said = refused(capsys, "server", "admit", new / "quito.request", "--fingerprint", wrong, "--home", home)
    assert "[IDENTITY, fingerprint" in said
    assert "quito" not in consortium.home.identities()
    assert not (home / "welcomes" / "quito.welcome").exists()
    right = home_of(new)
    assert coordinator.main(["admit", str(new / "quito.request"), "--fingerprint", "", "--home", str(home)]) == 2
    fingerprint = consortium_request_fingerprint(new)
    admit = ["admit", str(new / "quito.request"), "--fingerprint", fingerprint, "--home", str(home)]
    assert coordinator.main(admit) == 0
    welcome = home / "welcomes" / "quito.welcome"
    said = refused(capsys, "client", "join", welcome, "--fingerprint", wrong, "--home", new)
    assert "nothing was pinned" in said
    assert not right.has_joined
    assert not (new / "pins.json").exists()


def consortium_request_fingerprint(folder: Path) -> str:
    from common.trust.joining import JoinRequest

    return JoinRequest.read(next(folder.glob("*.request")).read_bytes()).fingerprint


# --- what they refuse -----------------------------------------------------------------------------------------------


def test_a_folder_that_holds_nothing_yet_says_which_command_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some.request").write_text("{}", encoding="utf-8")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SVM), encoding="utf-8")
    for command in (["status"], ["history"], ["stop"], ["follow"], ["fingerprint"], ["revoke", "x"], ["renew"],
                    ["start"], ["run", tmp_path / "config.yaml"]):  # fmt: skip
        said = refused(capsys, "server", *command, "--home", tmp_path / "none")
        assert "python -m server init" in said, command
    for command in (["plans"], ["approve", "x"], ["refuse", "x"], ["run"], ["rekey"]):
        said = refused(capsys, "client", *command, "--home", tmp_path / "none")
        assert "python -m client init" in said, command
    assert not (tmp_path / "none").exists()


def test_files_that_are_not_what_a_command_wants_are_refused(
    consortium: Consortium, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, site = consortium.home.folder, consortium.sites["Lisbon"].folder
    for name, content in (("empty", b""), ("binary", b"\x80\x04\xff" * 50), ("json", b"{}"), ("deep", b"[" * 100_000)):
        (tmp_path / name).write_bytes(content)
        assert "[WIRE:" in refused(capsys, "server", "admit", tmp_path / name, "--home", home)
        assert "[WIRE:" in refused(capsys, "client", "join", tmp_path / name, "--home", site)
    for name in ("nowhere", "."):
        assert "[DISK:" in refused(capsys, "server", "admit", tmp_path / name, "--home", home)
        assert "[DISK:" in refused(capsys, "client", "join", tmp_path / name, "--home", site)
    welcome = home / "welcomes" / "Lisbon.welcome"
    assert "expected a request file" in refused(capsys, "server", "admit", welcome, "--home", home)
    assert "expected a welcome file" in refused(capsys, "client", "join", site / "Lisbon.request", "--home", site)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["init", "pilot", "--address", "train.example"], "expected HOST:PORT"),
        (["init", "pilot", "--address", "train.example:x"], "expected HOST:PORT"),
        (["init", "pilot", "--address", "train.example:99999"], "port"),
        (["init", "pilot", "--address", "a b:1"], "address"),
        (["init", "a/b", "--address", "train.example:1"], "expected up to 63 letters"),
        (["init", "pilot", "--address", "train.example:1", "--days", "0"], "expected 1 to 3650"),
        (["init", "pilot", "--address", "train.example:1", "--purpose", "x" * 99_999], "--purpose"),
    ],
)
def test_a_consortium_that_cannot_be_is_not_made(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, "server", *arguments, "--home", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_plan_that_cannot_be_is_not_submitted(
    consortium: Consortium, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, config = consortium.home.folder, consortium.folder / "config.yaml"
    for overrides, message in (
        (["plan=null"], "no section `plan`"),
        (["federation.rounds=0"], "federation.rounds"),
        (["name=" + "x" * 300], "name"),
    ):
        assert message in refused(capsys, "server", "run", config, *overrides, "--home", home)
    assert "cannot read" in refused(capsys, "server", "run", tmp_path / "none.yaml", "--home", home)
    (home / "root.key").unlink()
    assert "name its file with --root" in refused(capsys, "server", "run", config, "--home", home)
    assert list(Run.all(consortium.home)) == []


# --- what they show -------------------------------------------------------------------------------------------------


def said_by(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> str:
    capsys.readouterr()
    assert coordinator.main([*map(str, arguments)]) == status
    return " ".join(capsys.readouterr().out.split())


def test_an_empty_consortium_has_an_empty_status_and_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "c"
    assert coordinator.main(["init", "pilot", "--no-passphrase", "--address", "localhost:1", "--home", str(home)]) == 0
    status = said_by(capsys, "status", "--home", home)
    assert "The coordinator's processes are not running: python -m server start" in status
    assert "No run is going on." in status
    assert re.search(r"(\d{5} ?){6}", said_by(capsys, "fingerprint", "--home", home))
    assert "how it ended" in said_by(capsys, "history", "--home", home)
    for command in ("stop", "follow"):
        assert "none yet; submit one: python -m server run PLAN" in refused(capsys, "server", command, "--home", home)


def test_status_names_the_site_that_is_waited_for_and_why(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    home, now = consortium.home, time.time()
    status = said_by(capsys, "status", "--home", home.folder)
    assert all(f"{name} no, never heard" in status for name in NAMES)
    run = Run.begin(home, plan := consortium.plan(), 3600)
    decide(consortium.sites["Lisbon"], plan, "approve", "")
    consortium.bring("Lisbon", plan)
    status = said_by(capsys, "status", "--home", home.folder)
    assert f"Run {run.name} waits for the decision of Nairobi, Osaka" in status

    for name in ("Nairobi", "Osaka"):
        decide(consortium.sites[name], plan, "approve", "")
        consortium.bring(name, plan)
    run.write_state(replace(run.state, stage="running", cohort=NAMES))
    write_json(home.live / "heard.json", {name: {"at_s": now, "since_s": now - 3600} for name in NAMES[:2]})
    run.remember([RoundRecord(0, 1.0, 1, 1, NAMES, (), False)])
    run.write_progress(
        ExchangeProgress("secagg/submit", 1, ("Nairobi", "Osaka"), now - 30, now + 90, {"Nairobi": "DATA"})
    )
    status = said_by(capsys, "status", "--home", home.folder)
    assert re.search(rf"Run {run.name}: 1 of 4 rounds done\. Waiting, [^,]+ at most for Nairobi", status)
    assert "Nairobi (error DATA there: the site's data set cannot be used as it is; `client check`" in status
    assert "Osaka (never heard: is its client running, and does the network let it out?)" in status
    assert "Lisbon yes, 60 min" in status


def test_follow_and_history_say_how_a_run_ended(consortium: Consortium, capsys: pytest.CaptureFixture[str]) -> None:
    home = consortium.home
    run = consortium.begun(consortium.plan())
    run.remember([RoundRecord(0, 1.0, 1, 1, NAMES, (), False, None, {"auc": 0.75}),
                  RoundRecord(1, 1.0, 1, 1, (), NAMES, True)])  # fmt: skip
    run.end("failed", "nothing was trained.")
    followed = said_by(capsys, "follow", run.name[:9], "--home", home.folder, status=1)
    assert "round 1 of 4, validation AUC 0.750" in followed
    assert "round 2 of 4: void, too few answered (silent: Lisbon, Nairobi, Osaka)" in followed
    assert f"Run {run.name} failed: nothing was trained." in followed
    assert "2 of 4 – failed: nothing was trained." in said_by(capsys, "history", "--home", home.folder)


def test_a_run_is_stopped_by_asking(consortium: Consortium, capsys: pytest.CaptureFixture[str]) -> None:
    run = consortium.begun(consortium.plan())
    run.end("finished")
    assert f"Run {run.name}: finished." in said_by(capsys, "stop", "--home", consortium.home.folder)
    assert run.is_stop_requested


def test_a_plan_is_submitted_and_shown_and_decided_on_without_the_network(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    home, lisbon = consortium.home.folder, consortium.sites["Lisbon"]
    submitted = said_by(capsys, "run", consortium.folder / "config.yaml", "--no-follow", "--home", home)
    (run,) = Run.all(consortium.home)
    assert f"Run {run.name}: asking Lisbon, Nairobi, Osaka" in submitted
    PlanInbox(lisbon).take_plan(run.plan.document.encode())
    (lisbon.folder / "address").write_text("127.0.0.1:1\n")  # nobody is there
    assert hospital.main(["plans", "--home", str(lisbon.folder)]) == 0
    assert hospital.main(["plans", run.name, "--home", str(lisbon.folder)]) == 0
    said = capsys.readouterr().out
    assert "undecided" in said
    assert run.plan.digest in said
    assert hospital.main(["refuse", run.name, "--reason", "no vote", "--home", str(lisbon.folder)]) == 0
    assert "The coordinator will be told as soon as it is reached" in capsys.readouterr().out
    decision = PlanInbox(lisbon).decision(run.plan)
    assert decision is not None
    assert (decision.verdict, decision.reason) == ("refuse", "no vote")
    assert asdict(run.state)["stage"] == "waiting"
    assert json.loads((run.folder / "state.json").read_text(encoding="utf-8"))["stage"] == "waiting"
