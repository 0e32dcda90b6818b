"""A page that a hospital hosts for several people: a real provider of identities says who comes, their key decides."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from joserfc.jwk import RSAKey
from playwright.sync_api import Browser, expect

from client.__main__ import COMMANDS
from client.access import people
from client.access.policy import Person, SitePolicy
from client.access.policy_store import policy_store
from client.page.hosted import HostedPage, hosted_server
from client.plans.inbox import PlanInbox
from common.errors import ConfigError
from tests.dashboard.browsing import FOUR, look_at, tab
from tests.dashboard.served import ServedPage
from tests.page.served_hospital import HERE, Consulted
from tests.page.small_provider import SmallProvider

PASSPHRASE = "four words of ana"  # noqa: S105 of a test


@pytest.fixture(scope="module")
def provider() -> Iterator[SmallProvider]:
    with SmallProvider("consilium", "s3cret") as found:
        yield found


@pytest.fixture(scope="module")
def settings(consulted: Consulted, provider: SmallProvider) -> Path:
    """Ana is a data officer; Bruno's key has no passphrase, Carla has none, Dora's is not in the policy."""
    folder = consulted.folder / "hosted"
    (folder / "keys").mkdir(parents=True)
    store = policy_store(consulted.here)
    before, founder = store.in_force(), people.open_key(consulted.here.folder / "me.key")
    keys = {name: people.make(folder / "keys" / f"{name}.key", None if name == "bruno" else PASSPHRASE)
            for name in ("ana", "bruno", "dora")}  # fmt: skip
    members = tuple(Person(name=name, key=keys[name].public, roles=("data-officer",)) for name in ("ana", "bruno"))
    content = before.content.model_copy(
        update={"version": 2, "previous": before.digest, "made_s": int(time.time()),
                "people": (*before.content.people, *members)}
    )  # fmt: skip
    assert store.offer(SitePolicy.write(content, [founder.private]))
    (folder / "oidc.secret").write_text("s3cret\n", encoding="utf-8")
    (folder / "oidc.secret").chmod(0o600)
    tree = {"issuer": provider.issuer, "client": "consilium", "secret": "oidc.secret", "keys": "keys",
            "people": {"ana-1234": "ana", "bruno-5": "bruno", "carla-6": "carla", "dora-7": "dora"}}  # fmt: skip
    (folder / "page.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return folder / "page.yaml"


@pytest.fixture
def hosted(consulted: Consulted, settings: Path, provider: SmallProvider) -> Iterator[ServedPage]:
    provider.subject, provider.changes, provider.signing = "ana-1234", {}, provider.key
    loaded = HostedPage.load(settings)
    with ServedPage(lambda port, say: hosted_server(loaded, consulted.here.folder, COMMANDS, port, say)) as page:
        yield page


def arrive(page: ServedPage, client: httpx.Client) -> httpx.Response:
    """To the provider, and back."""
    away = client.get("/oidc")
    assert away.status_code == 303
    with httpx.Client() as browser:
        back = browser.get(away.headers["location"]).headers["location"]
    assert back.startswith(f"{page.url}/oidc/back?")
    return client.get(back)


def open_key(page: ServedPage, client: httpx.Client, passphrase: str = PASSPHRASE) -> httpx.Response:
    return client.post("/login/key", data={"passphrase": passphrase}, headers={"origin": page.url})


def test_ana_logs_in_at_the_provider_opens_her_key_and_approves(
    consulted: Consulted, hosted: ServedPage, browser: Browser
) -> None:
    plan, run = consulted.ask("hosted")
    assert hosted.links == [f"{hosted.url}/"]  # no link lets anybody in
    with tab(browser, hosted.url) as seen:
        look_at(seen, FOUR)
        seen.get_by_role("link", name="Log in at").click()
        expect(seen.locator("form")).to_contain_text("You are ana, says the identity provider.")
        look_at(seen, FOUR)
        seen.get_by_label("Passphrase of ana.key").fill(PASSPHRASE)
        seen.get_by_role("button", name="Open my key").click()
        expect(seen.locator(".brand")).to_contain_text("Hanoi · ana")
        seen.get_by_role("link", name=f"Read and decide on {plan.name}").click()
        seen.get_by_role("button", name="Approve").click()
        expect(seen.get_by_role("status")).to_contain_text("approved.")
        assert run.decisions()[HERE].verdict == "approve"
        seen.get_by_role("button", name="Log out").click()
        seen.goto(f"{hosted.url}/plans/{plan.name}")
        expect(seen.locator("h1")).to_have_text("Log in")


def test_the_provider_alone_opens_nothing(consulted: Consulted, hosted: ServedPage) -> None:
    plan, _ = consulted.ask("sealed")
    with hosted.client() as client:
        assert "You are ana" in arrive(hosted, client).text
        assert client.get("/").headers["location"] == "/login"  # named, and not in
        assert client.get("/", params={"token": "guess"}).status_code == 403
        answer = open_key(hosted, client, "wrong")
        assert (answer.status_code, "wrong passphrase" in answer.text) == (403, True)
        assert client.post(f"/plans/{plan.name}/approve", headers={"origin": hosted.url}).status_code == 401
    with hosted.client() as client:  # the passphrase alone does not, either
        answer = open_key(hosted, client)
        assert (answer.status_code, "log in at the identity provider first" in answer.text) == (403, True)
    assert PlanInbox(consulted.here).decision(plan) is None


@pytest.mark.parametrize(
    ("subject", "message"),
    [("eve-9", "nobody&#x27;s name here|nobody's name here"), ("bruno-5", "wrong passphrase"),
     ("carla-6", "wrong passphrase"), ("dora-7", "is nobody")],
)  # fmt: skip
def test_who_has_no_key_under_a_passphrase_in_the_policy_is_not_let_in(
    hosted: ServedPage, provider: SmallProvider, subject: str, message: str
) -> None:
    provider.subject = subject
    with hosted.client() as client:
        answer = arrive(hosted, client)
        if subject != "eve-9":
            answer = open_key(hosted, client)
        assert answer.status_code == 403
        assert any(words in answer.text for words in message.split("|"))
        assert client.get("/").headers["location"] == "/login"


@pytest.mark.parametrize(
    "changes",
    [{"iss": "http://evil.example"}, {"aud": "another page"}, {"nonce": "of another login"}, {"exp": 1000},
     {"aud": ["consilium", "other"], "azp": "other"}, {"sub": None}, {"exp": None}],
)  # fmt: skip
def test_a_token_that_is_not_for_this_login_is_refused(
    hosted: ServedPage, provider: SmallProvider, changes: dict[str, Any]
) -> None:
    provider.changes = changes
    with hosted.client() as client:
        answer = arrive(hosted, client)
        assert (answer.status_code, "does not hold" in answer.text or "another page" in answer.text) == (403, True)


def test_a_token_under_another_key_is_refused(hosted: ServedPage, provider: SmallProvider) -> None:
    provider.signing = RSAKey.generate_key(2048, {"kid": "one"})
    with hosted.client() as client:
        assert "does not hold" in arrive(hosted, client).text


def test_a_login_that_another_browser_began_is_refused_and_one_works_once(
    hosted: ServedPage, provider: SmallProvider
) -> None:
    with hosted.client() as one, hosted.client() as other:
        away = one.get("/oidc").headers["location"]
        with httpx.Client() as browser:
            back = browser.get(away).headers["location"]
        assert other.get(back).status_code == 403
        assert one.get(back).status_code == 403  # it is used up
        again = arrive(hosted, one)
        assert again.status_code == 200
        assert open_key(hosted, one).status_code == 303
        assert open_key(hosted, one).status_code == 403


def test_settings_that_would_let_others_listen_are_refused(settings: Path, tmp_path: Path) -> None:
    tree = yaml.safe_load(settings.read_text(encoding="utf-8"))
    for changes, message in (({"listen": "0.0.0.0"}, "give `name` and `tls`"),  # noqa: S104
                             ({"issuer": "http://login.example"}, "issuer"), ({"people": {"x": "../root"}}, "people"),
                             ({"unheard-of": 1}, "unheard-of")):  # fmt: skip
        path = tmp_path / "page.yaml"
        path.write_text(yaml.safe_dump(tree | changes), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            HostedPage.load(path)
