"""Two messages at once: a site that looks, and then writes, signs two sets of survivors of one round (A7)."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.home import Home as Hospital
from common.errors import ConsiliumError, WireError
from common.messages import wire
from common.messages.transport import Request
from common.plans.plan import RunPlan
from common.secagg import RoundOpening
from common.secagg.round_messages import Agreement, Survivors
from tests.attacks.hospitals import SVM, Hospitals
from tests.attacks.hostile import HostileCoordinator, as_bytes, tell

pytestmark = pytest.mark.usefixtures("many_hospitals")
FOUR = ("Hanoi", "Lima", "Lisbon", "Nairobi")
VICTIM = "Hanoi"
TRIES = 30
ROOT = Path(__file__).parents[2]

Both = Callable[[Request, Request], tuple[bytes, bytes]]
"""Has a site asked two things at once; its two answers, messages or refusals."""


def agreements(opening: RoundOpening) -> tuple[Request, Request]:
    """Two sets of survivors of one round: all four sites, and three of them."""
    everybody, fewer = (
        Survivors(opening.context, members, bytes([len(members)] * 32)).encode() for members in ((0, 1, 2, 3), (0, 1, 2))
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
