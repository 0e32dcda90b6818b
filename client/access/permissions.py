"""Every command of a site, and the roles that may give it. What stands in no row nobody may do."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from common import config as configuration
from common.config import Encrypted
from common.errors import ConsiliumError

Role = Literal["data-officer", "operator", "researcher", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)

OFFICER, OPERATOR, RESEARCHER, AUDITOR = ROLES


@dataclass(frozen=True)
class CommandRule:
    """Who may give one command, and whether the site's log has it."""

    roles: tuple[Role, ...] | None
    """Any of these is enough; None: anybody, for there is no site yet, or nothing of it is read or changed."""
    recorded: bool = True
    """Whether the site's log says that it was done; that it was refused it always says."""


def _may(*roles: Role) -> CommandRule:
    return CommandRule(tuple(role for role in ROLES if role in roles))


def _may_look(*roles: Role) -> CommandRule:
    return CommandRule(_may(*roles).roles, recorded=False)


ANYBODY = CommandRule(None, recorded=False)

RULES: dict[str, CommandRule] = {
    # joining
    "init": CommandRule(None),
    "fingerprint": ANYBODY,
    "join": _may(OPERATOR),
    "rekey": _may(OPERATOR),
    "move": _may(OPERATOR),
    "accept-key": _may(OFFICER),
    "install-service": ANYBODY,  # the machine's administrator, who need not be of the site
    # plans
    "page": _may_look(*ROLES),
    "page --hosted": ANYBODY,
    "plans": _may_look(*ROLES),
    "approve": _may(OFFICER),
    "refuse": _may(OFFICER),
    "run": _may(OPERATOR),
    "health": _may_look(*ROLES),
    "metrics": _may_look(*ROLES),
    "witness": _may_look(*ROLES),
    "witness --accept": _may(OFFICER),
    "privacy show": _may_look(*ROLES),
    # figures and images
    "check": _may(OFFICER, OPERATOR, RESEARCHER),
    "check CONFIG": ANYBODY,
    "check CONFIG, encrypted": _may(OFFICER, OPERATOR, RESEARCHER),
    "preview": ANYBODY,
    "encoders": ANYBODY,
    "encoders add": ANYBODY,
    "encoders show": ANYBODY,
    "packages": ANYBODY,
    "packages add": ANYBODY,
    "preview, encrypted": _may(OFFICER, RESEARCHER),
    "simulate, encrypted": _may_look(OFFICER, RESEARCHER),
    "compare": _may(OFFICER, RESEARCHER),
    "predict": _may(OFFICER, RESEARCHER),
    "predict --to-pacs": _may(OFFICER, RESEARCHER),
    "predict, no site": ANYBODY,
    # custody
    "import": _may(OFFICER, OPERATOR),
    "import --retain": _may(OFFICER),
    "import --allow-burned-in": _may(OFFICER),
    "pacs add": _may(OPERATOR),
    "pacs list": _may_look(*ROLES),
    "pacs test": _may_look(OFFICER, OPERATOR),
    "pacs find": _may(OFFICER, OPERATOR),
    "custody begin": _may(OFFICER),
    "custody list": _may_look(*ROLES),
    "custody verify": _may(OFFICER, OPERATOR, AUDITOR),
    "custody rotate": _may(OPERATOR),
    "custody rotate --recovery": _may(OFFICER),
    "custody recover": _may(OFFICER),
    "custody adopt": _may(OFFICER),
    "custody destroy": _may(OFFICER),
    # patients
    "patients find": _may(OFFICER),
    "patients remove": _may(OFFICER),
    "patients readmit": _may(OFFICER),
    "patients relabel": _may(OFFICER),
    # the catalogue
    "catalogue": _may_look(*ROLES),
    "catalogue show": _may_look(*ROLES),
    "catalogue take": _may(OFFICER, OPERATOR, RESEARCHER),
    "catalogue offer": _may(OFFICER),
    "catalogue withdraw": _may(OFFICER),
    "catalogue read": ANYBODY,
    # backups
    "backup": _may(OPERATOR),
    "backup list": _may_look(*ROLES),
    "backup verify": _may(OFFICER, OPERATOR, AUDITOR),
    "backup drill": _may(OFFICER, OPERATOR),
    "backup prune": _may(OFFICER),
    "restore": _may(OFFICER, OPERATOR),
    "restore --recovery": ANYBODY,
    # access and account
    "access person": ANYBODY,
    "access begin": ANYBODY,
    "access show": _may_look(*ROLES),
    "access propose": _may(OFFICER),
    "access sign": _may(OFFICER),
    "audit show": _may(OFFICER, AUDITOR),
    "audit verify": _may_look(OFFICER, OPERATOR, AUDITOR),
    "audit verify FILE": ANYBODY,
    "audit export": _may(OFFICER, AUDITOR),
}


def _is_encrypted(options: argparse.Namespace) -> bool:
    return encrypted_data(options) is not None


def encrypted_data(options: argparse.Namespace) -> Encrypted | None:
    """The encrypted data set that a command's configuration names."""
    if not options.config:
        return None
    try:
        data = configuration.load(options.config, getattr(options, "overrides", ())).data
    except ConsiliumError:
        return None  # the command itself will say what is wrong with it
    return data if isinstance(data, Encrypted) else None


VARIANTS: dict[str, tuple[tuple[str, Callable[[argparse.Namespace], bool]], ...]] = {
    "check": ((" CONFIG, encrypted", _is_encrypted), (" CONFIG", lambda options: options.config is not None)),
    "preview": ((", encrypted", _is_encrypted),),
    "predict": (
        (", no site", lambda options: not (options.home / "site.yaml").exists()),
        (" --to-pacs", lambda options: options.to_pacs is not None),
    ),
    "page": ((" --hosted", lambda options: options.hosted is not None),),
    "witness": ((" --accept", lambda options: options.accept is not None),),
    "restore": ((" --recovery", lambda options: options.recovery is not None),),
    "import": (
        (" --allow-burned-in", lambda options: options.allow_burned_in),
        (" --retain", lambda options: bool(options.retain)),
    ),
    "custody rotate": ((" --recovery", lambda options: options.recovery is not None),),
    "audit verify": ((" FILE", lambda options: options.file is not None),),
}
"""Where an option makes another thing of a command; the first that holds counts, so the stricter ones come first."""


def rule_name(options: argparse.Namespace) -> str:
    """The row that a command, as it was typed, belongs to; there may be none."""
    name = " ".join(word for word in (options.command, getattr(options, "action", None)) if word)
    return name + next((more for more, holds in VARIANTS.get(name, ()) if holds(options)), "")


def role_names(rule: CommandRule) -> str:
    """The roles as people read them."""
    return "anybody" if rule.roles is None else " or ".join(rule.roles)


def describe_rules(command: str) -> str:
    """The rows of a command, for the end of its help."""
    rows = {name: role_names(rule) for name, rule in RULES.items() if name.replace(",", "").split()[0] == command}
    if len(rows) == 1:
        return (
            f"Who may: {role_names(RULES[command])}." if command in rows else f"Who may: {next(iter(rows.values()))}."
        )
    return "Who may:\n" + "\n".join(f"  {name:<28}{roles}" for name, roles in rows.items())
