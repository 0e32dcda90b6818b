"""A whole federation as its people run it: the real commands, each in a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SITES = ("site-1", "site-2", "site-3")


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Federation:
    """One coordinator and some hospitals, in folders below one."""

    def __init__(
        self, folder: Path, config: Path, sites: Sequence[str] = SITES, address: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.folder, self.config, self.sites = folder, config, tuple(sites)
        self.port, self.address = port or free_port(), address
        self.home = folder / "consortium"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.prefix: dict[str, list[str]] = {}
        """What a process's command is put behind, such as `ip netns exec NAME`."""
        self.variables: dict[str, dict[str, str]] = {}
        """Variables of the environment of a process's own."""
        self.program: tuple[str, ...] = (sys.executable, "-m")
        """What `client` and `server` are put behind."""
        self.place = ROOT
        """The folder in which every command is typed."""

    # --- the commands ---

    def server(self, *arguments: str) -> str:
        """A command of the coordinator; its output."""
        return self._command("server", "server", *arguments, "--home", str(self.home))

    def client(self, site: str, *arguments: str) -> str:
        """A command of a hospital; its output."""
        return self._command(site, "client", *arguments, "--home", str(self.folder / site))

    def _command(self, who: str, *arguments: str) -> str:
        done = subprocess.run(
            [*self.prefix.get(who, []), *self.program, *arguments],
            cwd=self.place, capture_output=True, encoding="utf-8", timeout=400, env=self._env(who),
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def found(self) -> None:
        """Make the consortium; every site joins it, fingerprints compared."""
        self.server("init", "pilot", "--no-passphrase", "--address", f"{self.address}:{self.port}")
        settings = self.home / "consortium.yaml"
        settings.write_text(
            settings.read_text(encoding="utf-8").replace("superlink_port: 18000", f"superlink_port: {free_port()}"),
            encoding="utf-8",
        )
        for site in self.sites:
            said = self.client(site, "init", site, "--rehearse", str(self.config))
            request = str(self.folder / site / f"{site}.request")
            self.server("admit", request, "--fingerprint", _fingerprint(said))
        for site in self.sites:
            welcome = str(self.home / "welcomes" / f"{site}.welcome")
            said = self.server("fingerprint")
            self.client(site, "join", welcome, "--fingerprint", _fingerprint(said))

    # --- the processes ---

    def start(self, *names: str) -> None:
        """Start the server, sites, or all."""
        for name in names or ("server", *self.sites):
            arguments = ["server", "start"] if name == "server" else ["client", "run"]
            home = self.home if name == "server" else self.folder / name
            with (self.folder / f"{name}.out").open("ab") as out:
                self.processes[name] = subprocess.Popen(
                    [*self.prefix.get(name, []), *self.program, *arguments, "--home", str(home)],
                    cwd=self.place, stdout=out, stderr=subprocess.STDOUT, env=self._env(name), start_new_session=True,
                )  # fmt: skip

    def ready(self, timeout_s: float = 200.0) -> None:
        """Until the coordinator's processes are up."""
        deadline = time.monotonic() + timeout_s
        while not (self.home / "live" / "keeper.json").exists():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def stop(self) -> None:
        """End everything, the hospitals first."""
        for name in sorted(self.processes, key=lambda n: n == "server"):
            with suppress(ProcessLookupError):
                self.processes[name].send_signal(signal.SIGTERM)
        for name, process in self.processes.items():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                print(f"{name} had to be killed")

    def kill(self, name: str) -> None:
        """SIGKILL one of the processes that were started here."""
        self.processes[name].kill()
        self.processes[name].wait()

    def _env(self, who: str) -> dict[str, str]:
        always = {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        return {**os.environ, **always, **self.variables.get(who, {})}

    # --- runs ---

    def submit(self, *overrides: str) -> str:
        """Submit a plan, approve it everywhere; the run's name."""
        said = self.server("run", str(self.config), *overrides, "--no-follow")
        name = run_in(said)
        for site in self.sites:
            self.approve(site, name)
        return name

    def approve(self, site: str, name: str) -> None:
        """The site's engineer approves."""
        self.client(site, "approve", name)

    def state(self, name: str) -> dict[str, Any]:
        """Where a run stands."""
        return dict(json.loads((self.home / "runs" / name / "state.json").read_text(encoding="utf-8")))

    def rounds(self, name: str) -> list[dict[str, Any]]:
        """A line for every round."""
        try:
            lines = (self.home / "runs" / name / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def result(self, name: str) -> dict[str, Any]:
        """What came out."""
        return dict(json.loads((self.home / "runs" / name / "result.json").read_text(encoding="utf-8")))

    def wait(self, name: str, timeout_s: float, stages: Sequence[str] = ("finished", "failed", "stopped")) -> str:
        """Until the run is in one of these stages."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if (stage := str(self.state(name)["stage"])) in stages:
                return stage
            time.sleep(0.2)
        raise TimeoutError(f"{name}: {self.state(name)}, {len(self.rounds(name))} rounds\n{self.logs()}")

    def logs(self) -> str:
        """The end of what every process said."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace", encoding="utf-8").splitlines()[-25:])
            for path in sorted([*self.folder.glob("*.out"), *(self.home / "live" / "log").glob("*.log")])
        )


def run_in(said: str) -> str:
    """The name of the run that `server run` has begun; above it may stand what goes with it."""
    (name,) = re.findall(r"^Run (\S+): ", said, re.MULTILINE)
    return str(name)


def _fingerprint(said: str) -> str:
    return next(line.strip() for line in said.splitlines() if line.startswith("    ") and line.strip()[:5].isdigit())
