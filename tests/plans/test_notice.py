"""People are told that a plan waits: by mail over TLS, or by a webhook; once, and without a word of patients."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.home import Home
from client.plans import notice
from client.plans.decide import decide
from common.audit.entries import decode
from common.errors import ConfigError
from common.plans.plan import RunPlan
from tests.consortium.consortium import Consortium
from tests.plans.mail_server import MailServer
from tests.plans.webhook_server import webhook

PASSWORD = "correct horse"  # noqa: S105 of a test


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    """Made once; tests work on copies."""
    return Consortium(tmp_path_factory.mktemp("notices") / "life")


@pytest.fixture
def consortium(made: Consortium, tmp_path: Path) -> Consortium:
    shutil.copytree(made.folder, tmp_path / "life")
    return made.at(tmp_path / "life")


@pytest.fixture
def plan(consortium: Consortium) -> RunPlan:
    return consortium.plan()


def settle(home: Home, **notices: Any) -> None:
    path = home.folder / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text("utf-8")) | {"notices": notices}), encoding="utf-8")


def secret(home: Home, name: str, content: str, mode: int = 0o600) -> str:
    (home.folder / name).write_text(content + "\n", encoding="utf-8")
    (home.folder / name).chmod(mode)
    return name


def mail_of(consortium: Consortium, server: MailServer, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "sender": "consilium@lisbon.example",
            "to": ["ana@lisbon.example", "bruno@lisbon.example"],
            "ca": str(consortium.home.folder / "tls" / "ca.crt"), **more}  # fmt: skip


def test_a_mail_says_that_a_plan_waits_once_and_nothing_of_the_images(consortium: Consortium, plan: RunPlan) -> None:
    home = consortium.sites["Lisbon"]
    with MailServer(consortium.home.folder / "tls", PASSWORD) as server:
        settle(home, mail=mail_of(consortium, server, user="consilium", password=secret(home, "mail.secret", PASSWORD)))
        assert notice.send_notices(home) == ""
        assert notice.send_notices(home) == ""
        (mail,) = server.mails
        text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
        assert mail["Subject"] == f"pilot: plan {plan.name} waits for Lisbon"
        assert mail["To"] == "ana@lisbon.example, bruno@lisbon.example"
        assert "python -m client page" in text
        assert plan.content.purpose in text
        for word in (plan.content.dataset, *plan.content.labels, str(home.folder)):
            assert word not in mail.as_string()
        assert [line.split()[0].upper() for line in server.clear] == ["EHLO", "STARTTLS"]  # all else went through TLS
        another = consortium.plan("name=other")
        decide(home, another, "refuse", "no")
        assert notice.send_notices(home) == ""
        assert len(server.mails) == 1  # what is decided waits for nobody
    entries = [decode(line, number, "") for number, line in enumerate(home.log.lines())]
    (sent,) = (entry for entry in entries if entry.what == "notice sent")
    assert (sent.plan, sent.facts) == (plan.name, {"by": "mail"})


def test_a_mail_server_that_does_not_take_it_is_asked_again(consortium: Consortium, plan: RunPlan) -> None:
    home = consortium.sites["Lisbon"]
    with MailServer(turns_away=1) as server:
        settle(home, mail=mail_of(consortium, server, tls="none"))
        problem = notice.send_notices(home)
        assert (
            f"{home.folder / 'site.yaml'}: notices.mail: 'pilot: plan {plan.name} waits for Lisbon' was not sent: (421"
            in problem
        )
        assert notice.send_notices(home) == ""
        assert len(server.mails) == 1
        settle(home, mail=mail_of(consortium, server, to=["carla@lisbon.example"]))  # STARTTLS, which it does not have
        consortium.plan("name=other")
        assert "STARTTLS extension not supported" in notice.send_notices(home)
        assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"password": "open.secret", "user": "consilium"}, "others can read it"),
     ({"tls": "none", "host": "mail.example"}, "tls is none for mail.example, which is another machine"),
     ({"ca": None}, "certificate verify failed"),
     ({"password": "wrong.secret", "user": "consilium"}, "(535")],
)  # fmt: skip
def test_nothing_is_sent_that_could_be_read_on_the_way(
    consortium: Consortium, plan: RunPlan, changes: dict[str, Any], message: str
) -> None:
    home = consortium.sites["Lisbon"]
    secret(home, "open.secret", PASSWORD, 0o644)
    secret(home, "wrong.secret", "guess")
    with MailServer(consortium.home.folder / "tls", PASSWORD) as server:
        settle(home, mail=mail_of(consortium, server) | changes)
        problem = notice.send_notices(home)
        assert message in problem
        assert PASSWORD not in problem
        assert server.mails == []


def test_a_webhook_hears_it_with_its_token(consortium: Consortium, plan: RunPlan) -> None:
    home = consortium.sites["Lisbon"]
    with webhook() as (url, taken):
        settle(home, webhook={"url": url, "token": secret(home, "hook.secret", "t0ken")})
        assert notice.send_notices(home) == ""
        ((authorization, content),) = taken
        assert authorization == "Bearer t0ken"
        assert (content["plan"], content["site"], content["consortium"]) == (plan.name, "Lisbon", "pilot")
        assert content["text"].startswith(f"pilot: plan {plan.name} waits for Lisbon")
        assert plan.content.dataset not in json.dumps(content)
    with webhook(500) as (url, taken):
        settle(home, webhook={"url": url})
        consortium.plan("name=other")
        assert "127.0.0.1 answered 500" in notice.send_notices(home)


@pytest.mark.parametrize(
    "notices",
    [{"webhook": {"url": "http://hook.example/x"}}, {"webhook": {"url": "ftp://127.0.0.1/x"}},
     {"mail": {"host": "mail.example", "sender": "a@b\nBcc: c@d", "to": ["a@b"]}},
     {"mail": {"host": "mail.example", "sender": "a@b", "to": []}}],
)  # fmt: skip
def test_what_no_notice_may_be_is_refused(consortium: Consortium, notices: dict[str, Any]) -> None:
    home = consortium.sites["Lisbon"]
    settle(home, **notices)
    with pytest.raises(ConfigError, match="notices"):
        _ = home.settings


def test_a_site_that_approves_by_rule_disturbs_nobody(consortium: Consortium, plan: RunPlan) -> None:
    home = consortium.sites["Lisbon"]
    with MailServer() as server:
        settle(home, mail=mail_of(consortium, server, tls="none"))
        path = home.folder / "site.yaml"
        tree = yaml.safe_load(path.read_text("utf-8"))
        tree["policy"]["plans"] = "approve"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        assert notice.send_notices(home) == ""
        assert server.mails == []
