"""Every error that a user can cause or mend. Each says what, what was expected, and what to do.

ConsiliumError
├── ConfigError         a key of a config file, or an option on the command line
├── DataError           a data set: a missing path, a manifest row, a site without cases
│   ├── LabelError      classes of other names than those that are asked for
│   ├── ImageError      one image file that cannot be read
│   ├── CustodyError    an encrypted data set that is not what was stored, or without its key
│   └── BackupError     a backup that is damaged, set back or gone, or that no key here opens
├── WeightsError        arrays of the wrong names, shapes or types, or not finite
├── WireError           bytes that are not a message of this version
├── QuorumError         too few sites answered
│   └── RefusedError    because sites refused, and would again (in `common.refusals`)
├── SecAggError         a step of the secure aggregation that was refused; `cause` names it in logs
│   ├── PolicyError     a roster or a plan that breaks the rules that the site pinned
│   ├── IdentityError   a signature or a key that is not what its owner published
│   ├── StageError      a message out of its order, replayed, or of another round
│   └── ShareError      a share of a secret that does not fit
├── PacsError           an image archive that cannot be reached, refuses, or answers what nobody asked
├── LinkError           the other side cannot be reached, or does not take what is sent
├── PlanError           a plan that this site does not run: not approved, expired, for other code
├── AuditError          a log of what was done that is not what was written, or a history that was changed
├── AccessError         something that the policy lets somebody else do
├── EncoderError        a file that is no encoder, or an encoder that is not here
├── PluginError         a plug-in that is not installed, is another wheel, or fails; `cause` says which
├── PackageError        a shared model that is damaged, changed, or of a publisher that is not trusted here
├── CatalogueError      an entry that cannot be made, taken or shown, or a catalogue that contradicts what was seen
└── RunError            a run's folder: occupied, damaged, or of another configuration

Each has a code, by which docs/errors.md explains it. The command lines print these without a traceback and exit with
status 2. Anything else is a defect of ours.
"""

from collections.abc import Iterable


class ConsiliumError(Exception):
    """The root. `str(error)` is what the user reads."""

    code = "CONSILIUM"


class ConfigError(ConsiliumError):
    """A configuration that cannot be used."""

    code = "CONFIG"


class DataError(ConsiliumError):
    """A data set that cannot be used as it is."""

    code = "DATA"


class LabelError(DataError):
    """A data set whose classes have other names, or another order, than those that are asked for.

    Args:
        where: the data set.
        labels: that it has.
        expectation: what is asked for, and by whom.
    """

    code = "LABELS"

    def __init__(self, where: str, labels: Iterable[str], expectation: str) -> None:
        super().__init__(
            f"{where} has the labels {', '.join(labels)}; {expectation}. Say what stands for what with data.groups "
            "({LABEL HERE: LABEL ASKED FOR, …}), or ask for a plan with the labels that are here."
        )


class ImageError(DataError):
    """One image that cannot be read, or may not be taken; the message begins with its path.

    Args:
        is_burned_in: whether the reason is that its pixels may show a name.
    """

    code = "IMAGE"

    def __init__(self, message: str, *, is_burned_in: bool = False) -> None:
        super().__init__(message)
        self.is_burned_in = is_burned_in


class CustodyError(DataError):
    """An encrypted data set that is not what was stored (changed, swapped, cut, set back), or without its key."""

    code = "CUSTODY"


class BackupError(DataError):
    """A backup that is not what was stored (changed, cut, set back, gone), or that no key here opens."""

    code = "BACKUP"


class WeightsError(ConsiliumError):
    """Arrays that do not fit the model, or are not finite."""

    code = "WEIGHTS"


class WireError(ConsiliumError):
    """Bytes that are not a message of this version."""

    code = "WIRE"


class QuorumError(ConsiliumError):
    """Fewer sites answered than the plan demands."""

    code = "QUORUM"


class SecAggError(ConsiliumError):
    """A step of the secure aggregation that was refused.

    Args:
        cause: one word for logs, e.g. "split-survivors".
        message: what, what was expected, what to do.
    """

    code = "SECAGG"

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class PolicyError(SecAggError):
    """A roster or a plan that breaks the rules that the site pinned."""

    code = "POLICY"


class IdentityError(SecAggError):
    """A signature or a key that is not what its owner published."""

    code = "IDENTITY"


class StageError(SecAggError):
    """A message out of its order, replayed, or of another round."""

    code = "STAGE"


class ShareError(SecAggError):
    """A share of a secret that does not fit."""

    code = "SHARE"


class LinkError(ConsiliumError):
    """The other side cannot be reached, or does not take what is sent."""

    code = "LINK"


class PacsError(ConsiliumError):
    """An image archive that cannot be reached, refuses, or answers what nobody asked.

    Args:
        cause: one word or two for reports, e.g. "timed out" (`client.pacs.archive.CAUSES`).
        message: what, what was expected, what to do.
    """

    code = "PACS"

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class PlanError(ConsiliumError):
    """A plan that this site does not run."""

    code = "PLAN"


class AuditError(ConsiliumError):
    """A log of what was done that is not what was written, or a history that does not extend the one seen before."""

    code = "AUDIT"


class AccessError(ConsiliumError):
    """Something that the site's policy lets somebody else do."""

    code = "ACCESS"


class EncoderError(ConsiliumError):
    """A file that is no encoder, or an encoder that is asked for and is not here."""

    code = "ENCODER"


class PluginError(ConsiliumError):
    """A plug-in that is not installed, is another wheel than was named, is not allowed, or fails.

    Args:
        cause: one word for the coordinator, e.g. "plugin-absent" (`common.refusals`).
        message: what, what was expected, what to do.
    """

    code = "PLUGIN"

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class PackageError(ConsiliumError):
    """A shared model that is not what its publisher signed, or whose publisher is not trusted here."""

    code = "PACKAGE"


class CatalogueError(ConsiliumError):
    """An entry of the catalogue that cannot be made, taken or shown, or a catalogue that contradicts what was seen."""

    code = "CATALOGUE"


class RunError(ConsiliumError):
    """A run's folder that cannot be written or continued."""

    code = "RUN"
