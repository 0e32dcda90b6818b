"""A new hospital's engineer, from the welcome to the first round, with a real archive: commands and minutes.

    python benchmarks/new_hospital.py [IMAGES.npz]        some minutes

Needs Debian's orthanc, orthanc-dicomweb and dcmtk. Two synthetic hospitals are members already and run; the coordinator
runs. A third has an archive (Orthanc on loopback) with 160 studies of one radiograph each, and a worklist. What its
engineer types is typed here, each as a process; the two calls to the coordinator, whose people admit the site and sign
a plan, are not the engineer's, and are not counted. First a plan with labels that the hospital has not: everybody is
told before anything runs. Then `configs/plan-template.yaml` as it is, but for the labels, to its first round and its
end. People read and think longer than this does. The last line is JSON.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.custody.hospital import dicom, written
from tests.deployment.federation import Federation
from tests.deployment.whole import ended, until
from tests.pacs import orthanc
from tests.pacs.orthanc import Orthanc, free_port

ROOT = Path(__file__).resolve().parents[1]
PARTNERS, NEWCOMER, STUDIES, SIZE = ("Nairobi", "Osaka"), "santa-maria", 160, 112
LABELS = ("normal", "pneumonia")


class Desk:
    """The engineer's terminal, in a folder where nothing is yet; `--home` is never typed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.begun_s = folder, time.monotonic()
        self.typed: list[tuple[str, float]] = []
        folder.mkdir()

    def type(self, *words: str, status: int = 0) -> str:
        """A command and what it says; the program ends where the exit status is another."""
        begun_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "client", *words], cwd=self.folder, capture_output=True, text=True,
            env=environment(), stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        self._note(words, time.monotonic() - begun_s, done.stdout + done.stderr)
        if done.returncode != status:
            raise SystemExit(f"{words}: exit status {done.returncode}, expected {status}")
        return done.stdout + done.stderr

    def leave_running(self, *words: str) -> subprocess.Popen[bytes]:
        """A command that stays."""
        with (self.folder / "run.out").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "client", *words], cwd=self.folder, stdout=out, stderr=out, env=environment()
            )
        self._note(words, 0.0, "(stays)")
        return process

    def _note(self, words: tuple[str, ...], took_s: float, said: str) -> None:
        line = "python -m client " + " ".join(f"'{word}'" if " " in word else word for word in words)
        self.typed.append((line, took_s))
        print(f"$ {line}\n{said.rstrip()}\n[{took_s:.1f} s]\n", flush=True)


def environment() -> dict[str, str]:
    """Of a shell of the engineer's."""
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}


def fill(archive: Orthanc, path: Path | None) -> str:
    """Put studies into the archive; the worklist that radiology writes."""
    rng, rows = np.random.default_rng(3), ["accession,label"]
    if path is None:
        labels = rng.integers(0, 2, STUDIES)
        images = rng.integers(0, 200, (STUDIES, 28, 28), np.uint8) + (labels * 50).astype(np.uint8)[:, None, None]
    else:
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["train_images"], file["train_labels"].ravel()
    for number, i in enumerate(rng.permutation(len(images))[:STUDIES]):
        pixels = np.kron(images[i], np.ones((SIZE // 28, SIZE // 28), np.uint8)).astype(np.uint16) << 4
        accession, uid = f"A2024{number:03d}", f"2.25.{90_000 + number}"
        header = dicom(
            pixels, AccessionNumber=accession, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1",
            PatientID=f"HN{number:04d}", BodyPartExamined="CHEST",
        )  # fmt: skip
        header.SOPInstanceUID = f"{uid}.1.1"
        archive.send(written(header))
        rows.append(f"{accession},{LABELS[labels[i]]}")
    return "\n".join(rows) + "\n"


def plan(path: Path, name: str, labels: tuple[str, ...]) -> Path:
    """The template of a plan with these labels; its synthetic images are the partners', enough at each."""
    tree = yaml.safe_load((ROOT / "configs" / "plan-template.yaml").read_text(encoding="utf-8"))
    tree["name"], tree["plan"]["labels"] = name, list(labels)
    tree["data"] |= {"labels": list(LABELS), "cases": 400}
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def walk(federation: Federation, desk: Desk, archive: Orthanc, refused: Path) -> dict[str, object]:
    """All that the engineer types; what came of it."""
    desk.type("init", NEWCOMER, "--contact", "Ana Sousa, +351 21 000 000")
    digits = subprocess.run(
        [sys.executable, "-m", "client", "fingerprint", "--plain", "--home", str(desk.folder / "site")], cwd=ROOT,
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    federation.server("admit", str(desk.folder / "site" / f"{NEWCOMER}.request"), "--fingerprint", digits)
    shutil.copy(federation.home / "welcomes" / f"{NEWCOMER}.welcome", desk.folder)
    welcomed_s = time.monotonic()
    desk.type("join", f"{NEWCOMER}.welcome", "--fingerprint", federation.server("fingerprint", "--plain").strip())
    desk.type("custody", "begin", "../to-put-away.recovery")
    desk.type(
        "pacs", "add", "radiology", "--ae", "ARCHIVE", "--host", "127.0.0.1", "--port", str(archive.dicom_port),
        "--our-ae", "CONSILIUM", "--our-port", str(archive.receiver),
    )  # fmt: skip
    desk.type("import", "--from-pacs", "radiology", "--worklist", "list.csv", "--name", "chest-xray")
    desk.type("check")
    resident = desk.leave_running("run")
    try:
        until(lambda: "connected to" in (desk.folder / "run.out").read_text(encoding="utf-8"))
        other = _drawn_up(federation, refused)
        before = len(desk.typed)
        said = desk.type("approve", other, status=2)
        assert "has the labels" in said, said
        assert federation.state(other)["stage"] == "waiting"
        federation.server("stop", other)
        del desk.typed[before:]  # of the trial, not of the way
        run = _drawn_up(federation, federation.config)
        drawn_s = time.monotonic()
        desk.type("plans", run)
        desk.type("approve", run)
        until(lambda: federation.rounds(run), 600)
        first_s = time.monotonic()
        stage = federation.wait(run, 1200)
        print((desk.folder / "run.out").read_text(encoding="utf-8"))
        rounds = federation.rounds(run)
    finally:
        resident.terminate()
        resident.wait(30)
    return {
        "commands": len(desk.typed), "minutes from welcome to first round": round((first_s - welcomed_s) / 60, 1),
        "s in commands": round(sum(took_s for _, took_s in desk.typed), 1),
        "s from plan to first round": round(first_s - drawn_s, 1), "end": stage, "rounds": len(rounds),
        "sites in the first round": rounds[0]["sites"], "void rounds": sum(r["void"] for r in rounds),
        "other labels": "refused before anything ran",
    }  # fmt: skip


def _drawn_up(federation: Federation, path: Path) -> str:
    """Sign a plan; the partners approve it if it fits them, which is theirs to do."""
    run = federation.server("run", str(path), "--no-follow").split()[1].rstrip(":")
    for site in federation.sites if path == federation.config else ():
        federation.approve(site, run)
    return run


def main(arguments: list[str]) -> int:
    """All of it."""
    if not orthanc.is_installed():
        print(orthanc.MISSING)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="new-hospital-"))
    archive = Orthanc(folder / "orthanc", free_port()).start()
    federation = Federation(folder, plan(folder / "plan.yaml", "first", LABELS), PARTNERS)
    try:
        with ended(federation):
            federation.found()
            federation.start()
            federation.ready()
            desk = Desk(folder / "desk")
            worklist = fill(archive, Path(arguments[0]).absolute() if arguments else None)
            (desk.folder / "list.csv").write_text(worklist, encoding="utf-8")
            outcome = walk(federation, desk, archive, plan(folder / "other.yaml", "other", ("clear", "disease")))
    finally:
        archive.stop()
        shutil.rmtree(folder)
    print("\n".join(f"{took_s:6.1f} s  {line}" for line, took_s in desk.typed))
    print(json.dumps(outcome))
    return 0 if outcome["end"] == "finished" and int(str(outcome["commands"])) < 10 else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
