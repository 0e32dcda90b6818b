"""Two messages at once, a death under the lock, an old state written back: one set of survivors is signed (A7)."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.home import Home as Hospital
from client.plans.inbox import PlanInbox
from client.training.site_storage import SealedStateFile
from common.errors import ConsiliumError, WireError
from common.messages import wire
from common.messages.transport import Request
from common.plans.plan import RunPlan
from common.secagg.round import RoundOpening
from common.secagg.round_messages import Agreement, Survivors
from tests.attacks.hospitals import SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator, as_bytes, tell

pytestmark = pytest.mark.usefixtures("many_hospitals")
FOUR = ("Hanoi", "Lima", "Lisbon", "Nairobi")
VICTIM = "Hanoi"
TRIES = 6
REPEATED = "repeated-question"
ROOT = Path(__file__).parents[2]

Both = Callable[[Request, Request], tuple[bytes, bytes]]
"""Has a site asked two things at once; its two answers, messages or refusals."""


def agreements(opening: RoundOpening) -> tuple[Request, Request]:
    """Two sets of survivors of one round: all four sites, and three of them."""
    everybody, fewer = (
        Survivors(opening.context, members, bytes([len(members)] * 32)).encode()
        for members in ((0, 1, 2, 3), (0, 1, 2))
    )
    return Request("secagg/agree", 0, {"message": as_bytes(everybody)}), Request(
        "secagg/agree", 0, {"message": as_bytes(fewer)}
    )


def answer(site: Hospital, plan: RunPlan, request: Request) -> bytes:
    try:
        return tell(site, plan, request)
    except ConsiliumError as error:
        return getattr(error, "cause", error.code).encode()


@contextmanager
def threads(site: Hospital, plan: RunPlan) -> Iterator[Both]:
    def both(one: Request, other: Request) -> tuple[bytes, bytes]:
        answers, start = [b"", b""], threading.Barrier(2)

        def ask(which: int, request: Request) -> None:
            start.wait()
            answers[which] = answer(site, plan, request)

        work = [threading.Thread(target=ask, args=item) for item in enumerate((one, other))]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        return answers[0], answers[1]

    yield both


@contextmanager
def two_processes(site: Hospital, plan: RunPlan) -> Iterator[Both]:
    command = [sys.executable, "-m", "tests.attacks.other_process", str(site.folder), plan.digest]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as first,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as second,
    ):
        processes = first, second
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

        def both(one: Request, other: Request) -> tuple[bytes, bytes]:
            for process, request in zip(processes, (one, other), strict=True):
                assert process.stdin is not None
                process.stdin.write(wire.encode_request(request).hex() + "\n")
                process.stdin.flush()
            answers = [process.stdout.readline().strip() for process in processes if process.stdout]
            return plain(answers[0]), plain(answers[1])

        yield both
        for process in processes:
            process.kill()


@contextmanager
def fork(site: Hospital, plan: RunPlan) -> Iterator[Both]:
    def both(one: Request, other: Request) -> tuple[bytes, bytes]:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, answer(site, plan, other))
            os._exit(0)
        first = answer(site, plan, one)
        os.waitpid(child, 0)
        second = os.read(read, 65536)
        os.close(read)
        os.close(write)
        return first, second

    yield both


def plain(line: str) -> bytes:
    """An answer of the other process."""
    try:
        return bytes.fromhex(line)
    except ValueError:
        return line.encode()


def is_agreement(content: bytes) -> bool:
    try:
        Agreement.decode(content)
    except WireError:
        return False
    return True


WAYS = {"threads": threads, "two processes": two_processes, "fork": fork}


@pytest.mark.parametrize("way", WAYS)
def test_two_survivor_sets_of_one_round_signed_by_one_site(
    tmp_path: Path, way: str, show: Callable[[str], None]
) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (6, 4)), SVM)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("preprocess=[]"))
    question = coordinator.course.request(coordinator.course.start())
    once, losers = 0, set[str]()
    with WAYS[way](hospitals.sites[VICTIM], coordinator.plan) as both:
        for _ in range(TRIES):
            opening = coordinator.submit(coordinator.begin(), question)
            answers = both(*agreements(opening))
            once += sum(map(is_agreement, answers)) == 1
            losers |= {content.decode() for content in answers if not is_agreement(content)}
    show(f"A7 {way} → one survivor set signed in {once} of {TRIES} tries; the loser: {', '.join(sorted(losers))}")
    assert once == TRIES
    assert losers <= {"out-of-order"}


def test_a_process_that_is_killed_at_any_moment_signs_nothing_that_it_has_not_written_down(
    tmp_path: Path, show: Callable[[str], None]
) -> None:
    hospitals, both_signed, outcomes = Hospitals(tmp_path, dict.fromkeys(FOUR, (6, 4)), SVM), 0, set[str]()
    coordinator = HostileCoordinator(hospitals, hospitals.approved("preprocess=[]"))
    question, site = coordinator.course.request(coordinator.course.start()), hospitals.sites[VICTIM]
    moments = random.Random(1)
    for _ in range(12):
        everybody, fewer = agreements(coordinator.submit(coordinator.begin(), question))
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, answer(site, coordinator.plan, everybody))
            os._exit(0)
        time.sleep(moments.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(write)
        first, second = os.read(read, 65536), answer(site, coordinator.plan, fewer)  # the lock is free again
        os.close(read)
        both_signed += is_agreement(second) and bool(first)
        outcomes.add("before it signed" if is_agreement(second) else "after it signed")
    show(
        f"A7 kill -9 → two survivor sets signed in {both_signed} of 12 tries; it died {' and '.join(sorted(outcomes))}"
    )
    assert both_signed == 0


def test_a_death_in_the_lock_frees_it_and_changes_nothing(tmp_path: Path) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (6, 4)), SVM)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("preprocess=[]"))
    everybody, fewer = agreements(
        coordinator.submit(coordinator.begin(), coordinator.course.request(coordinator.course.start()))
    )
    site, before = hospitals.sites[VICTIM], coordinator.remembered()
    store = SealedStateFile(PlanInbox(site).room(coordinator.plan.digest) / "state", site.enrolment.sealing_key)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with store.lock():
            os.write(write, b"held")
            time.sleep(60)
    assert os.read(read, 4) == b"held"
    answers = list[bytes]()
    waiting = threading.Thread(target=lambda: answers.append(answer(site, coordinator.plan, everybody)))
    waiting.start()
    waiting.join(0.3)
    assert not answers  # it waits for who holds the lock
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    waiting.join(30)
    assert coordinator.remembered() != before
    assert is_agreement(answers[0])
    assert answer(site, coordinator.plan, fewer) == b"out-of-order"


def test_an_old_state_that_is_written_back_gives_nothing(tmp_path: Path, ends: Callable[..., None]) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (6, 4)), SVM)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("preprocess=[]"))
    opening = coordinator.submit(coordinator.begin(), coordinator.course.request(coordinator.course.start()))
    site = hospitals.sites[VICTIM]
    path = PlanInbox(site).room(coordinator.plan.digest) / "state"
    submitted = path.read_bytes()
    _, fewer = agreements(opening)
    assert coordinator.close(opening)
    path.write_bytes(submitted)  # as before it signed anything; the vector that it sent is gone
    coordinator.send(VICTIM, fewer)
    ends("an old state, to sign other survivors", coordinator, {"lost-vector": [VICTIM]}, None)


def test_an_old_state_with_the_old_vector_meets_the_ledger(tmp_path: Path, ends: Callable[..., None]) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FOUR, (6, 4)), SVM)
    coordinator = HostileCoordinator(hospitals, hospitals.approved("preprocess=[]"))
    opening = coordinator.submit(coordinator.begin(), coordinator.course.request(coordinator.course.start()))
    room = PlanInbox(hospitals.sites[VICTIM]).room(coordinator.plan.digest)
    before = {path: path.read_bytes() for path in room.iterdir() if path.is_file()}
    three = Survivors(opening.context, (0, 1, 2), bytes(32)).encode()
    assert coordinator.close(opening)
    for path, content in before.items():  # all that it keeps of the run, as it was; not its ledger of all runs
        path.write_bytes(content)
    coordinator.send(VICTIM, Request("secagg/agree", 0, {"message": as_bytes(three)}))
    ends("a run's whole folder set back, to sign other survivors", coordinator, {REPEATED: [VICTIM]}, None)
