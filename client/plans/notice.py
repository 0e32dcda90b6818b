"""A notice to people of the hospital that a plan waits for their decision: by mail, or to an address of the web.

It says which consortium asks, for which purpose, by which plan, and until when. Nothing of patients, images or the
data set is in it: it passes through servers that are not this site's.
"""

import smtplib
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

import httpx

from client.home import Home
from client.plans.inbox import PlanInbox
from client.plans.plan_state import plan_state
from client.site_settings import MailNotice, WebhookNotice
from common.errors import ConfigError, ConsiliumError, LinkError
from common.plans.plan import RunPlan
from common.storage.secret_files import read_secret

TIMEOUT_S = 20.0
LOCAL = ("localhost", "127.0.0.1", "::1")


def send_notices(home: Home) -> str:
    """Tell of every plan that waits and was not told of yet; what went wrong, if something did: it is tried again."""
    try:
        ways = _ways(home) if home.settings.policy.plans == "ask" else {}
        plans = [*PlanInbox(home).plans()] if ways else []
    except ConsiliumError as error:
        return str(error)
    problems = []
    for plan in plans:
        ways_so_far = PlanInbox(home).notices(plan)
        if ways.keys() <= set(ways_so_far) or plan_state(home, plan).state != "undecided":
            continue
        for way, send in ways.items():
            if way in ways_so_far:
                continue
            try:
                send(plan)
            except (ConsiliumError, OSError, smtplib.SMTPException, httpx.HTTPError) as error:
                problems.append(f"notices.{way} of {home.folder / 'site.yaml'}: {plan.name} was not told of: {error}")
                continue
            ways_so_far.append(way)
            PlanInbox(home).note_notices(plan, ways_so_far)
            home.log.record("notice sent", plan=plan.name, facts={"by": way})
    return " ".join(problems)


def _ways(home: Home) -> dict[str, Callable[[RunPlan], None]]:
    """How people are told, as site.yaml has it."""
    notices, ways = home.settings.notices, dict[str, Callable[[RunPlan], None]]()
    if mail := notices.mail:
        ways["mail"] = lambda plan: send_mail(home, mail, plan)
    if webhook := notices.webhook:
        ways["webhook"] = lambda plan: post(home, webhook, plan)
    return ways


def words(home: Home, plan: RunPlan) -> tuple[str, str]:
    """Subject and text of a notice."""
    content = plan.content
    until = time.strftime("%Y-%m-%d", time.gmtime(content.expires_s))
    text = (
        f"{content.consortium} asks {home.site} for a decision.\n\n"
        f"    plan       {plan.name}\n    purpose    {content.purpose}\n    until      {until}\n\n"
        f"Nothing is answered before it is approved. To read and decide: python -m client page\n"
        f"or: python -m client plans {plan.name}\n"
    )
    return f"{content.consortium}: plan {plan.name} waits for {home.site}", text


def send_mail(home: Home, mail: MailNotice, plan: RunPlan) -> None:
    """Send a mail.

    Raises:
        ConfigError: a password that others can read, or that would go to another machine in the clear.
        OSError, SMTPException: the mail server is not there, or does not take it.
    """
    if mail.tls == "none" and mail.host not in LOCAL:
        raise ConfigError(f"tls is none for {mail.host}, which is another machine. Expected starttls or tls.")
    message = EmailMessage()
    message["Subject"], text = words(home, plan)
    message["From"], message["To"], message["Date"] = mail.sender, ", ".join(mail.to), formatdate()
    message["Message-ID"] = make_msgid(domain=mail.sender.rpartition("@")[2])  # else this machine's name is in it
    message.set_content(text)
    password = read_secret(_there(home, mail.password), "a password") if mail.password else ""
    with _connected(home, mail) as connection:
        if mail.user:
            connection.login(mail.user, password)
        connection.send_message(message)


def _connected(home: Home, mail: MailNotice) -> smtplib.SMTP:
    name = mail.sender.rpartition("@")[2]
    if mail.tls == "tls":
        context = _trusting(home, mail.ca)
        return smtplib.SMTP_SSL(mail.host, mail.port, name, timeout=TIMEOUT_S, context=context)
    connection = smtplib.SMTP(mail.host, mail.port, name, timeout=TIMEOUT_S)
    try:
        if mail.tls == "starttls":
            connection.starttls(context=_trusting(home, mail.ca))
    except BaseException:
        connection.close()
        raise
    return connection


def post(home: Home, webhook: WebhookNotice, plan: RunPlan) -> None:
    """Post the notice as JSON: `text` for messengers, its parts for programs.

    Raises:
        ConfigError: a token that others can read.
        HTTPError: nobody answers there.
        LinkError: it was not taken.
    """
    subject, text = words(home, plan)
    content = {"text": f"{subject}\n\n{text}", "site": home.site, "consortium": plan.content.consortium,
               "plan": plan.name, "purpose": plan.content.purpose, "expires_s": plan.content.expires_s}  # fmt: skip
    token = read_secret(_there(home, webhook.token), "a bearer token") if webhook.token else ""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(timeout=TIMEOUT_S, verify=_trusting(home, webhook.ca)) as client:
        answer = client.post(webhook.url, json=content, headers=headers)
    if not answer.is_success:
        raise LinkError(f"{httpx.URL(webhook.url).host} answered {answer.status_code}.")


def _trusting(home: Home, authority: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(_there(home, authority)) if authority else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _there(home: Home, path: Path) -> Path:
    """A path of site.yaml: beside it, or where the program was started."""
    return next((place for place in home.places(path) if place.exists()), path)
