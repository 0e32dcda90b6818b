"""Who is told, and how: `notices` of site.yaml and of consortium.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from common.config import Frozen

Address = Annotated[str, Field(pattern=r"^[!-?A-~]+@[!-?A-~]+$", max_length=254)]


class MailNotice(Frozen):
    """A mail to people of this house, through its own mail server."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`none`: to a mail server of this machine alone."""
    ca: Path | None = None
    """Authority of the mail server's certificate; none: those that this machine trusts."""
    sender: Address
    to: Annotated[tuple[Address, ...], Field(min_length=1)]
    user: str | None = None
    password: Path | None = None
    """A file of mode 600 with the password of `user`."""


class WebhookNotice(Frozen):
    """A POST of JSON, for a messenger or a ticket system."""

    url: Annotated[str, Field(pattern=r"^https://|^http://(127\.0\.0\.1|localhost|\[::1\])[:/]")]
    token: Path | None = None
    """A file of mode 600 with a bearer token."""
    ca: Path | None = None
    """Authority of its certificate; none: those that this machine trusts."""


class Notices(Frozen):
    """Who is told what people have to see to."""

    mail: MailNotice | None = None
    webhook: WebhookNotice | None = None

    @property
    def ways(self) -> frozenset[str]:
        """By which people are told."""
        return frozenset(name for name in ("mail", "webhook") if getattr(self, name))
