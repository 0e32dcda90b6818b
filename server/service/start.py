"""What `python -m server start` does: keep Flower's processes and the gateway alive, and the runs going.

Three threads: this one looks after the processes (`Supervisor`: who has died is started again), another after the runs
(`Scheduler`: once a second, which plan may begin), one tells people what they have to see to (`coordinator_notices`).
`live/keeper.json` says when the second last looked and what was in its way; `python -m server status` shows it.
"""

import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from common.cli import interrupt, logs
from common.errors import RunError
from common.storage.files import write_json
from common.trust import folder_release
from common.trust.release import VERSION, code_digest
from server.consortium import certificate
from server.consortium.home import Home
from server.processes.supervisor import ManagedProcess, Supervisor
from server.service.certificate_keeper import CertificateKeeper
from server.service.coordinator_notices import send_notices
from server.service.scheduler import Scheduler, turn_safely
from server.superlink import control

log = logging.getLogger("consilium")

TURN_EVERY_S, TELL_EVERY_S = 1.0, 60.0


def start(home: Home) -> int:
    """Keep all of it running until SIGINT or SIGTERM.

    Raises:
        RunError: if it runs already, or a port is taken.
    """
    stop = threading.Event()
    with interrupt.in_order(stop.set) as signals:
        _start(home, stop)
    return signals.status


def _start(home: Home, stop: threading.Event) -> None:
    settings = home.settings
    logs.begin(home.live / "server.jsonl")
    _refuse_taken(settings.port, settings.listen, "port")
    _refuse_taken(settings.superlink_port, "127.0.0.1", "superlink_port")
    supervisor = Supervisor(children(home), home.live / "log")
    folder_release.enter(home.folder, [home.live / "flower"])  # the ports are free: nothing writes there
    supervisor.start(stop)
    scheduling = threading.Thread(target=_schedule, args=(home, stop))
    scheduling.start()
    threading.Thread(target=_tell, args=(home, stop), daemon=True).start()  # a mail server may keep it waiting
    log.info("consortium %s listens on %s:%d. Ctrl-C stops.", settings.consortium, settings.listen, settings.port)
    try:
        while not stop.is_set():
            supervisor.turn(0.2)
    finally:
        stop.set()
        scheduling.join()
        supervisor.stop()
        (home.live / "keeper.json").unlink(missing_ok=True)


def children(home: Home) -> tuple[ManagedProcess, ...]:
    """SuperLink, SuperExec and gateway, in the order in which they need each other."""
    settings = home.settings
    certificate.ensure_local(home)
    flower = control.commands(home.folder.resolve(), settings.superlink_port)
    gateway = (sys.executable, "-m", "server.gateway", str(home.folder.resolve()))
    superlink_answers = _answers("127.0.0.1", settings.superlink_port, home.authority)
    return (
        ManagedProcess("superlink", flower["superlink"].command, flower["superlink"].env, superlink_answers),
        ManagedProcess("superexec", flower["superexec"].command, flower["superexec"].env),
        ManagedProcess("gateway", gateway, {"PYTHONPATH": str(Path(__file__).parents[2])},
              _answers(settings.own_host, settings.port, home.authority)),
    )  # fmt: skip


def _schedule(home: Home, stop: threading.Event) -> None:
    scheduler = Scheduler(home, control.ControlApi(home.folder, home.settings.superlink_port))
    keeper = CertificateKeeper(home)
    version, last_problem = {"release": VERSION, "code": code_digest()}, ""
    while not stop.wait(TURN_EVERY_S):
        problem = turn_safely(scheduler) or keeper.turn(time.time())
        try:
            write_json(home.live / "keeper.json", {"at_s": time.time(), "problem": problem, **version}, durably=False)
        except OSError as error:  # whatever it is, the processes must be kept
            problem = problem or f"{error.filename or home.live}: {error.strerror or error}"
        if problem and problem != last_problem:
            log.warning("%s", problem)
        last_problem = problem
    scheduler.control.close()  # the SuperLink, asked to end, waits for its connections to be closed


def _tell(home: Home, stop: threading.Event) -> None:
    last_problem = ""
    while not stop.wait(TELL_EVERY_S):
        try:
            problem = send_notices(home, time.time())
        except Exception as error:  # a defect of ours: the next notice may still go
            problem = f"notices fail by a defect of ours, {type(error).__name__}: {error}"
        if problem and problem != last_problem:
            log.warning("%s", problem)
        last_problem = problem


def _answers(host: str, port: int, authority: Path) -> Callable[[], bool]:
    def is_up() -> bool:
        try:
            context = ssl.create_default_context(cafile=str(authority))
            with (
                socket.create_connection((host, port), 2.0) as raw,
                context.wrap_socket(raw, server_hostname="localhost"),  # in every certificate of ours
            ):
                return True
        except OSError:
            return False

    return is_up


def _refuse_taken(port: int, listen: str, key: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in listen else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen, port))
        except OSError as error:
            raise RunError(
                f"{listen}:{port}: {error.strerror}. Is `python -m server start` running already, or another program "
                f"on this port? Another can be set as {key} in consortium.yaml."
            ) from None
