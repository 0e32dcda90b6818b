"""Who may see a page: whoever knows the password, or follows a link that works once.

Of the password a scrypt hash is kept (RFC 7914), of links and sessions a SHA-256: a copy of the files opens nothing.
"""

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from common.errors import ConfigError
from common.storage.files import glance, replace

LEAST_LENGTH = 12
SCRYPT = {"length": 32, "n": 2**15, "r": 8, "p": 1}
"""32 MB and a tenth of a second for each guess."""
SESSION_S = 12 * 3600.0
MOST_SESSIONS = 100
FREE_TRIES, LONGEST_WAIT_S = 3, 60.0
MOST_NOTED, NOTED_S = 60, 3600.0
"""Of refused logins so many in so long are worth an entry in a log that never shrinks."""


class LoginRefusedError(Exception):
    """Not let in; says why, and after how many seconds another try is looked at."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@dataclass
class Login:
    """Passwords, links and sessions of one page. Threads may share it.

    Args:
        password_file: has the password's hash, once one was set; None: there are links alone.
        sessions_file: keeps sessions, so that they outlast this process; None: they end with it.
        session_s: how long one lasts; 0: SESSION_S.
        on_leave: called with a session that somebody ends.
    """

    password_file: Path | None = None
    sessions_file: Path | None = None
    session_s: float = 0.0
    on_leave: Callable[[str], object] = field(default=lambda session: None, repr=False)
    _alone: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _link: bytes | None = field(default=None, repr=False)
    """Digest of the link that was not used yet."""
    _wrong: int = 0
    """Wrong passwords in a row."""
    _closed_until_s: float = 0.0
    _noted_s: list[float] = field(default_factory=list)
    """When refused logins were written down."""
    _sessions: dict[str, float] = field(default_factory=dict, repr=False)
    """Sessions by their digest, with their end, where no file keeps them."""

    @property
    def has_password(self) -> bool:
        """Whether one was set; else there are links."""
        return self.password_file is not None and self.password_file.exists()

    def set_password(self, password: str) -> None:
        """Set the password. All sessions end.

        Raises:
            ConfigError: too short, or a page without passwords.
        """
        if self.password_file is None:
            raise ConfigError("this page has no password: a link lets people in.")
        if len(password) < LEAST_LENGTH:
            raise ConfigError(f"a password of {len(password)} characters, expected {LEAST_LENGTH} at least.")
        salt = secrets.token_bytes(16)
        content = {"salt": salt.hex(), "scrypt": Scrypt(salt=salt, **SCRYPT).derive(password.encode()).hex()}
        replace(self.password_file, json.dumps(content).encode())
        self._keep({})

    def link(self) -> str:
        """A token for a link that works once; one given before works no more."""
        token = secrets.token_urlsafe(32)
        with self._alone:
            self._link = _digest(token)
        return token

    # --- letting in -------------------------------------------------------------------------------------------------

    def follow(self, token: str) -> str:
        """A new session for the token of a link.

        Raises:
            LoginRefusedError: it is not the one, or was used, or a password was set since.
        """
        with self._alone:
            if self.has_password or self._link is None or not hmac.compare_digest(self._link, _digest(token)):
                raise LoginRefusedError("this link was used already, or is not of this process.")
            self._link = None
            return self._begin_session()

    def enter(self, password: str) -> str:
        """A new session for the password. One guess at a time; after three wrong ones, each costs a pause.

        Raises:
            LoginRefusedError: wrong, or too early.
        """
        return self.enter_if(lambda: self._fits(password), "password")

    def enter_if(self, fits: Callable[[], bool], what: str) -> str:
        """As `enter`, for another secret, which whoever calls looks at."""
        with self._alone:
            if (wait_s := self._closed_until_s - time.monotonic()) > 0:
                raise LoginRefusedError(f"too many wrong {what}s. Try again in {wait_s:.0f} s.", wait_s)
            if not fits():
                self._wrong += 1
                wait_s = min(2.0 ** (self._wrong - FREE_TRIES), LONGEST_WAIT_S) if self._wrong >= FREE_TRIES else 0.0
                self._closed_until_s = time.monotonic() + wait_s
                raise LoginRefusedError(f"wrong {what}.", wait_s)
            self._wrong = 0
            return self._begin_session()

    @property
    def lasts_s(self) -> float:
        """How long a session lasts."""
        return self.session_s or SESSION_S

    def to_note(self) -> bool:
        """Whether one more refused login is to be written down: any web page can have a browser follow a wrong link."""
        with self._alone:
            now_s = time.monotonic()
            self._noted_s = [at_s for at_s in self._noted_s if now_s - at_s < NOTED_S]
            if len(self._noted_s) >= MOST_NOTED:
                return False
            self._noted_s.append(now_s)
            return True

    def admits(self, session: str) -> bool:
        """Whether a session is going on. It is looked up by its digest, so time tells nothing of it."""
        return self._sessions_by_digest().get(_digest(session).hex(), 0.0) > time.time()

    def leave(self, session: str) -> None:
        """End a session."""
        self.on_leave(session)
        with self._alone:
            sessions = self._sessions_by_digest()
            sessions.pop(_digest(session).hex(), None)
            self._keep(sessions)

    def _fits(self, password: str) -> bool:
        content = glance(self.password_file) if self.password_file else None
        if not content:
            return False
        try:
            Scrypt(salt=bytes.fromhex(content["salt"]), **SCRYPT).verify(
                password.encode(), bytes.fromhex(content["scrypt"])
            )
        except (InvalidKey, KeyError, TypeError, ValueError):
            return False
        return True

    def _begin_session(self) -> str:
        session, now = secrets.token_urlsafe(32), time.time()
        running = {name: until_s for name, until_s in self._sessions_by_digest().items() if until_s > now}
        newest = sorted(running.items(), key=lambda one: one[1])[-MOST_SESSIONS + 1 :]
        self._keep({**dict(newest), _digest(session).hex(): now + self.lasts_s})
        return session

    def _sessions_by_digest(self) -> dict[str, float]:
        if self.sessions_file is None:
            return dict(self._sessions)
        content = glance(self.sessions_file)
        return dict(content) if isinstance(content, dict) else {}

    def _keep(self, sessions: dict[str, float]) -> None:
        if self.sessions_file is None:
            self._sessions = sessions
            return
        self.sessions_file.parent.mkdir(parents=True, exist_ok=True)
        replace(self.sessions_file, json.dumps(sessions).encode())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
