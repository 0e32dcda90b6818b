"""A hardened unit of systemd for a process that runs for years, with the account and the folder that it needs.

What is taken from the process: all of the system but its own folder, capabilities, devices, other processes, kinds of
sockets and system calls that no program of ours makes. It keeps the network, and memory that is
written and executed, which TensorFlow's compiler needs; `systemd-analyze security` counts both.
"""

import argparse
import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.storage import tensorfile

ROOT = Path(__file__).parents[2]
FOLDER = Path("/etc/systemd/system")
NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")

UNIT = """[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={account}
WorkingDirectory={home_path}
{environment}ExecStart={command}
Restart=always
RestartSec=5
TimeoutStopSec=120
UMask=0077
LimitCORE=0
SyslogIdentifier={name}

ReadWritePaths={home}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
KeyringMode=private
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class ServiceUnit:
    """A process as a service of the system."""

    name: str
    """Of the unit, without `.service`."""
    description: str
    words: tuple[str, ...]
    """The process's command line, after `python`."""
    home: Path
    """The folder that it may write."""
    account: str
    environment: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """The unit's file."""
        python = Path(sys.executable)  # of the environment: what a link of it leads to knows nothing of it
        variables = dict(self.environment)
        if Path(sysconfig.get_path("purelib")) != ROOT:  # a checkout, which no environment finds by itself
            variables["PYTHONPATH"] = str(ROOT)
        lines = "".join(f"Environment={_quoted(f'{key}={value}')}\n" for key, value in variables.items())
        # -P: nothing is imported from the working folder.
        command = " ".join(_quoted(word) for word in (str(python), "-P", "-m", *self.words))
        return UNIT.format(
            description=self.description.replace("%", "%%"), account=self.account, home_path=_path(self.home),
            environment=lines, command=command, name=self.name, home=_quoted(str(self.home)),
        )  # fmt: skip


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of `install-service`, beside the folder."""
    parser.add_argument("--name", default=name, help=f"of the unit ({name}); another for a second one on this machine")
    parser.add_argument("--account", default="consilium", help="the system account that it runs as (consilium)")
    parser.add_argument("--print", action="store_true", dest="only_print", help="show the unit, and write nothing")


def install(unit: ServiceUnit, *, only_print: bool) -> int:
    """Write the unit, and make its account and its folder; or show the unit alone.

    Raises:
        ConfigError: this is not the administrator, the name is none, or the folder is another account's.
    """
    if not NAME.fullmatch(unit.name) or not NAME.fullmatch(unit.account):
        raise ConfigError(f"{unit.name}, {unit.account}: expected small letters, digits and dashes as names.")
    if only_print:
        print(unit.text(), end="")
        return 0
    if os.geteuid() != 0:
        raise ConfigError("a service is installed as the administrator: sudo with the same command. --print shows it.")
    owner = _account(unit.account, unit.home)
    if not unit.home.exists():
        unit.home.mkdir(parents=True, mode=0o700)
        os.chown(unit.home, owner.pw_uid, owner.pw_gid)
    elif unit.home.stat().st_uid != owner.pw_uid:
        raise ConfigError(
            f"{unit.home}: is not the folder of {unit.account}, as which the service runs. Give it with "
            f"`chown -R {unit.account}: {unit.home}`, or name its owner with --account."
        )
    path = FOLDER / f"{unit.name}.service"
    tensorfile.write_atomically(path, unit.text().encode(), mode=0o644)
    print(f"Written: {path}. Then: systemctl daemon-reload && systemctl enable --now {unit.name}")
    print(f"What it says: journalctl -u {unit.name}")
    return 0


def _account(name: str, home: Path) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if useradd is None:
            raise ConfigError(f"{name}: there is no such account, and no useradd here. Make it first.") from None
        quiet = ("--system", "--no-create-home", "--home-dir", str(home), "--shell", "/usr/sbin/nologin")
        subprocess.run([useradd, *quiet, name], check=True)  # noqa: S603
        return pwd.getpwnam(name)


def _quoted(word: str) -> str:
    """A word as systemd reads it: blanks kept, and nothing replaced."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[\s\"'\\;]", word) or not word else escaped


def _path(path: Path) -> str:
    """A path as the whole of a line, where systemd wants no quotes."""
    return str(path).replace("%", "%%")
