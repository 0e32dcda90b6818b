"""All versions of a site's policy, in its folder: which one is in force, and what waits for a second signature.

access/1, access/2 …    every version that came into force
access/proposal         a version that one data officer has signed

A version names the digest of the one before and is signed by data officers of that one, so a chain from the first to
the newest can be checked from the files alone. What files cannot show is that the newest ones were taken away, and when
each was accepted: the site's log, which only grows, remembers both, by this machine's clock. Who may sign a version are
the data officers of the moment when it was accepted, whatever date its writer put into it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.access.permissions import ROLES
from client.access.policy import HOW_TO, Person, PolicyContent, SitePolicy
from client.home import SiteFolder
from common.audit.entries import decode
from common.audit.log import Log
from common.errors import AccessError, ConfigError
from common.storage.files import replace

EVENT = "policy"
"""What the log calls a version that came into force."""
CLOCK_S = 600
"""A policy may be made so long in the future by this machine's clock, and no longer."""


def policy_store(home: SiteFolder) -> "PolicyStore":
    """The signed policy of a site's folder, all its versions."""
    return PolicyStore(home.folder / "access", home.site, home.log)


@dataclass(frozen=True)
class PolicyStore:
    """The policy of a site, all versions: `access/1`, `access/2` …, and `access/proposal`."""

    folder: Path
    site: str
    log: Log

    @property
    def exists(self) -> bool:
        """Whether there is a first version."""
        return self._file(1).exists()

    def begin(self, name: str, key: Ed25519PrivateKey, public: str, purposes: tuple[str, ...]) -> SitePolicy:
        """The first version: one person in all roles.

        Raises:
            ConfigError: there was a policy here before.
        """
        if self.exists or self._acceptances():
            raise ConfigError(f"{self.folder}: this site has a policy already. {HOW_TO}")
        person = Person(name=name, key=public, roles=ROLES)
        content = PolicyContent(
            site=self.site, version=1, previous="", made_s=int(time.time()), purposes=purposes, people=(person,)
        )  # fmt: skip
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        policy = SitePolicy.write(content, [key])
        self.enact(policy)
        return policy

    def enact(self, policy: SitePolicy) -> None:
        """Let a version come into force."""
        # The file first: after a crash in between the log knows less than it, and not the other way round.
        replace(self._file(policy.content.version), policy.document.encode())
        self._remember(policy)
        (self.folder / "proposal").unlink(missing_ok=True)

    def newest(self) -> SitePolicy:
        """The version in force, by its signatures alone.

        Raises:
            AccessError: there is none, or it is not what two data officers signed.
        """
        return self._chain()[-1]

    def in_force(self) -> SitePolicy:
        """The version in force, which the log knows as well.

        Raises:
            AccessError: as `newest`, and if it was set back or is not the one that the log remembers.
            AuditError: the log is not what was written.
        """
        logged = self._acceptances()
        chain = self._chain(logged)
        for version, (digest, _) in logged.items():
            if version > len(chain) or chain[version - 1].digest != digest:
                raise AccessError(
                    f"{self.folder}: version {version} of the policy, which the site's log knows, is gone or another: "
                    f"the policy was set back or put in its place. Restore the folder from a backup. {HOW_TO}"
                )
        for policy in chain:
            if policy.content.version not in logged:
                if not logged:
                    raise AccessError(f"{self.folder}: the site's log knows of no policy. Restore both. {HOW_TO}")
                self._remember(policy)  # a process was killed between file and log
        return chain[-1]

    def version(self, number: int) -> SitePolicy:
        """An earlier version of the policy, by its number.

        Raises:
            AccessError: there is none.
        """
        chain = self._chain()
        if not 1 <= number <= len(chain):
            raise AccessError(f"{self.folder}: there is no version {number} of the policy.")
        return chain[number - 1]

    # --- a version that waits for a signature ---

    def proposal(self) -> SitePolicy | None:
        """What waits for a signature."""
        path = self.folder / "proposal"
        return SitePolicy.read(path.read_bytes()) if path.exists() else None

    def offer(self, policy: SitePolicy) -> bool:
        """Let a version come into force if its signatures are enough, else wait for more; whether it is in force.

        Raises:
            AccessError: it does not follow on the one in force, or is not signed rightly.
            ConfigError: it would leave one data officer alone some day.
        """
        policy.content.refuse_lapse()
        if policy.missing(self.in_force(), time.time()):
            replace(self.folder / "proposal", policy.document.encode())
            return False
        self.enact(policy)
        return True

    # --- inside ---

    def _file(self, version: int) -> Path:
        return self.folder / str(version)

    def _chain(self, acceptances: Mapping[int, tuple[str, float]] | None = None) -> list[SitePolicy]:
        """All versions, checked.

        Args:
            acceptances: as the log has them; a version that it does not know is accepted now. None: the log is not
                asked, and whoever was ever a data officer of the version before may have signed.
        """
        chain: list[SitePolicy] = []
        while (path := self._file(len(chain) + 1)).exists():
            policy = SitePolicy.read(path.read_bytes())
            at_s = acceptances.get(len(chain) + 1, ("", time.time()))[1] if acceptances is not None else None
            if policy.missing(chain[-1] if chain else None, at_s):
                raise AccessError(f"{path}: is signed by one alone, and two are needed. {HOW_TO}")
            if policy.content.site != self.site or policy.content.made_s > time.time() + CLOCK_S:
                raise AccessError(f"{path}: the policy of site {policy.content.site}, or made in the future. {HOW_TO}")
            chain.append(policy)
        if not chain:
            raise AccessError(
                f"{self.folder}: this site has no policy, so nobody may do anything. One of an earlier release gets "
                "its first with `python -m client access begin`; a lost one comes from the backup."
            )
        return chain

    def _remember(self, policy: SitePolicy) -> None:
        facts: dict[str, int | str] = {"version": policy.content.version, "digest": policy.digest}
        self.log.record(EVENT, facts=facts)

    def _acceptances(self) -> dict[int, tuple[str, float]]:
        """The versions that the log knows: digest of each, and when it was accepted, by this machine's clock."""
        acceptances: dict[int, tuple[str, float]] = {}
        for number, line in enumerate(self.log.lines()) if self.log.exists else ():
            if f'"what":"{EVENT}"'.encode() in line:
                entry = decode(line, number, str(self.log.folder))
                acceptances.setdefault(int(entry.facts["version"]), (str(entry.facts["digest"]), entry.at_s))
        return acceptances
