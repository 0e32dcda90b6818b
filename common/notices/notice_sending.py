"""A notice on its way: a mail over TLS, or a POST of JSON. It passes through servers of others, and holds no secret."""

import smtplib
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

import httpx

from common.errors import ConfigError, ConsiliumError, LinkError
from common.notices.notice_settings import MailNotice, Notices, WebhookNotice
from common.storage.secret_files import read_secret

TIMEOUT_S = 20.0
LOCAL = ("localhost", "127.0.0.1", "::1")

Find = Callable[[Path], Path]
"""Where a path of the settings lies."""


@dataclass(frozen=True)
class Notice:
    """What people are told."""

    subject: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs."""


def send_by_all(notices: Notices, find: Find, notice: Notice, so_far: Collection[str]) -> tuple[list[str], list[str]]:
    """Send a notice by every way by which it has not gone yet.

    Args:
        so_far: the ways by which it has gone.

    Returns:
        The ways by which it has gone now, and why it did not go by others, each beginning with the setting.
    """
    ways: dict[str, Callable[[], None]] = {}
    if mail := notices.mail:
        ways["mail"] = lambda: _send_mail(mail, find, notice)
    if webhook := notices.webhook:
        ways["webhook"] = lambda: _post(webhook, find, notice)
    ways_so_far, problems = list(so_far), []
    for way in sorted(ways.keys() - set(so_far)):
        try:
            ways[way]()
            ways_so_far.append(way)
        except (ConsiliumError, OSError, smtplib.SMTPException, httpx.HTTPError) as error:
            problems.append(f"notices.{way}: '{notice.subject}' was not sent: {error}")
    return ways_so_far, problems


def _send_mail(mail: MailNotice, find: Find, notice: Notice) -> None:
    """Send a mail.

    Raises:
        ConfigError: a password that others can read, or that would go to another machine in the clear.
        OSError, SMTPException: the mail server is not there, or does not take it.
    """
    if mail.tls == "none" and mail.host not in LOCAL:
        raise ConfigError(f"tls is none for {mail.host}, which is another machine. Expected starttls or tls.")
    message = EmailMessage()
    message["Subject"] = notice.subject
    message["From"], message["To"], message["Date"] = mail.sender, ", ".join(mail.to), formatdate()
    message["Message-ID"] = make_msgid(domain=mail.sender.rpartition("@")[2])  # else this machine's name is in it
    message.set_content(notice.text)
    password = read_secret(find(mail.password), "a password") if mail.password else ""
    with _connected(mail, find) as connection:
        if mail.user:
            connection.login(mail.user, password)
        connection.send_message(message)


def _connected(mail: MailNotice, find: Find) -> smtplib.SMTP:
    name = mail.sender.rpartition("@")[2]
    if mail.tls == "tls":
        return smtplib.SMTP_SSL(mail.host, mail.port, name, timeout=TIMEOUT_S, context=_trusting(mail.ca, find))
    connection = smtplib.SMTP(mail.host, mail.port, name, timeout=TIMEOUT_S)
    try:
        if mail.tls == "starttls":
            connection.starttls(context=_trusting(mail.ca, find))
    except BaseException:
        connection.close()
        raise
    return connection


def _post(webhook: WebhookNotice, find: Find, notice: Notice) -> None:
    """Post the notice as JSON: `text` for messengers, its facts for programs.

    Raises:
        ConfigError: a token that others can read.
        HTTPError: nobody answers there.
        LinkError: it was not taken.
    """
    content = {"text": f"{notice.subject}\n\n{notice.text}", **notice.facts}
    token = read_secret(find(webhook.token), "a bearer token") if webhook.token else ""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(timeout=TIMEOUT_S, verify=_trusting(webhook.ca, find)) as client:
        answer = client.post(webhook.url, json=content, headers=headers)
    if not answer.is_success:
        raise LinkError(f"{httpx.URL(webhook.url).host} answered {answer.status_code}.")


def _trusting(authority: Path | None, find: Find) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(find(authority)) if authority else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
