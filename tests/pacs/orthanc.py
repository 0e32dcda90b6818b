"""A real archive: Debian's Orthanc with its DICOMweb, in a folder, on loopback. Shared by tests and benchmarks."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PROGRAM = shutil.which("Orthanc") or ("/usr/sbin/Orthanc" if Path("/usr/sbin/Orthanc").exists() else None)
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = (
    "!!! NO ARCHIVE HERE: Orthanc with DICOMweb and dcmtk are not installed. As the administrator: apt-get install "
    "orthanc orthanc-dicomweb dcmtk dicom3tools"
)
DCMTK = ("storescu", "movescu", "dsrdump")


def is_installed() -> bool:
    return PROGRAM is not None and PLUGIN.exists() and all(map(shutil.which, DCMTK))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Orthanc:
    """One archive; what it stores outlives its being killed."""

    folder: Path
    receiver: int
    """Where the site that it knows as CONSILIUM listens."""
    lua: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    ae: str = "ARCHIVE"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.dicom_port, self.http_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> "Orthanc":
        script = self.folder / "rules.lua"
        script.write_text(self.lua, encoding="utf-8")
        configuration = {
            "StorageDirectory": str(self.folder / "store"), "IndexDirectory": str(self.folder / "store"),
            "DicomAet": self.ae, "DicomPort": self.dicom_port, "HttpPort": self.http_port,
            "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True,
            "DicomModalities": {"consilium": ["CONSILIUM", "127.0.0.1", self.receiver]},
            "LuaScripts": [str(script)] if self.lua else [], "Plugins": [str(PLUGIN)], "StableAge": 1,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "DicomScuTimeout": 60, "OverwriteInstances": True,
            **self.settings,
        }  # fmt: skip
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(configuration), encoding="utf-8")
        with (self.folder / "log").open("ab") as log:
            environment = {**os.environ, "LC_ALL": "C.UTF-8"}
            self.process = subprocess.Popen([str(PROGRAM), str(file)], stdout=log, stderr=log, env=environment)
        begun = time.monotonic()
        while time.monotonic() - begun < 120:
            try:
                self.get("/system")
                return self
            except httpx.HTTPError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:])

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=60, trust_env=False).raise_for_status().json()

    def send(self, content: bytes) -> None:
        httpx.post(f"{self.url}/instances", content=content, timeout=60, trust_env=False).raise_for_status()

    def kill(self) -> None:
        """As when the machine goes down."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """At the end of a test, which does not wait for a tidy end."""
        if self.process and self.process.poll() is None:
            self.kill()
