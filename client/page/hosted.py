"""A page that the hospital hosts for several people: the identity provider says who somebody is, their key acts.

Who has logged in at the provider is asked for the passphrase of their own key, which lies here under it. So neither the
provider nor who administers this machine can approve in a person's name: a signature needs what only they know. The
open key stays in the memory of this process as long as the session, and is asked for again after that.
"""

import hashlib
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from client.access.people import PersonKey, open_key
from client.page.hospital_app import WAYS, HospitalPages
from client.page.identity_provider import PATIENCE_S, IdentityProvider
from client.page.site_commands import SiteCommands
from common import config as configuration
from common.cli.command import Command
from common.config import Frozen
from common.errors import AccessError, ConfigError, ConsiliumError
from common.storage.secret_files import read_secret
from common.web.form import form_fields
from common.web.login import Login, LoginRefusedError
from common.web.markup import Child, el
from common.web.page_app import OPEN, PageApp
from common.web.page_frame import page
from common.web.page_server import PageAddress, Server, server

SESSION_S = 3600.0
Web = Annotated[str, Field(pattern=r"^https://[^\s]+$|^http://(127\.0\.0\.1|localhost|\[::1\])[:/]")]


class HostedPage(Frozen):
    """Where the page is, whom the provider knows, and where their keys are."""

    listen: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8766
    name: str = ""
    """Under which other machines ask for it."""
    tls: Path | None = None
    """A folder of `server.crt` and `server.key`, for other machines."""
    issuer: Web
    """Of the identity provider, as it names itself."""
    client: Annotated[str, Field(min_length=1)]
    """Under which name the page is registered there."""
    secret: Path | None = None
    """A file of mode 600 with the secret of that registration."""
    ca: Path | None = None
    """Authority of the provider's certificate; none: those that this machine trusts."""
    keys: Path
    """A folder with `NAME.key` of each person, under their passphrase."""
    people: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]]
    """By the provider's `sub`, the person's name in the site's policy."""

    @classmethod
    def load(cls, path: Path) -> "HostedPage":
        """The settings in a file; what it names lies beside it.

        Raises:
            ConfigError: naming the file and the key.
        """
        try:
            settings = cls.model_validate(configuration.parse_yaml(path.read_bytes(), path))
        except ValidationError as error:
            raise ConfigError(configuration.readable(path, error, cls)) from None
        if not PageAddress(settings.listen, 1).is_local and not (settings.name and settings.tls):
            raise ConfigError(f"{path}: listen lets other machines in, so give `name` and `tls`.")
        beside = {name: path.parent / value for name in ("tls", "secret", "ca", "keys")
                  if (value := getattr(settings, name)) is not None}  # fmt: skip
        return settings.model_copy(update=beside)


@dataclass
class HostedLogin:
    """Who is logged in: a name by the provider, then a key by its passphrase."""

    settings: HostedPage
    provider: IdentityProvider
    home: Path
    commands: Mapping[str, Command]
    login: Login = field(init=False)
    _people: dict[str, tuple[SiteCommands, float]] = field(default_factory=dict, repr=False)
    """By the digest of a session, in whose name it gives commands, and until when."""
    _names: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    """By the digest of what a browser keeps, whom the provider has named there, and until when."""

    def __post_init__(self) -> None:
        # Whose session has ended, their key goes.
        self.login = Login(session_s=SESSION_S, on_leave=lambda session: self._people.pop(_digest(session), None))

    def person_of(self, request: Request, cookie: str) -> SiteCommands:
        """In whose name a request gives commands.

        Raises:
            AccessError: the session has ended meanwhile.
        """
        person, until_s = self._people.get(_digest(request.cookies.get(cookie, "")), (None, 0.0))
        if person is None or until_s < time.monotonic():
            raise AccessError("the session has ended. Log in again.")
        return person

    def enter(self, ticket: str, passphrase: str) -> str:
        """A session, for whom the provider has named, if they know the passphrase of their key.

        Raises:
            LoginRefusedError: not named, wrong, or too early.
        """
        now = time.monotonic()
        self._people = {name: entry for name, entry in self._people.items() if entry[1] > now}  # keys of ended ones go
        name, until_s = self._names.get(_digest(ticket), ("", 0.0))
        if until_s < now:
            raise LoginRefusedError("log in at the identity provider first.")
        keys: list[PersonKey] = []

        def fits() -> bool:
            try:
                keys.append(self._open(name, passphrase))
                return True
            except AccessError:
                return False

        session = self.login.enter_if(fits, "passphrase")
        person = SiteCommands(self.home, keys[0], self.commands)
        self._names.pop(_digest(ticket), None)
        try:
            policy_name = person.me().name
        except ConsiliumError as error:
            self.login.leave(session)
            raise LoginRefusedError(str(error)) from None
        if policy_name != name:
            self.login.leave(session)
            raise LoginRefusedError(f"the key is {policy_name}'s in the site's policy, and the provider says {name}.")
        self._people[_digest(session)] = person, now + SESSION_S
        return session

    def name(self, subject: str) -> str:
        """What a browser keeps of whom the provider has named there, until the passphrase comes.

        Raises:
            AccessError: nobody whom this page knows.
        """
        if (name := self.settings.people.get(subject)) is None:
            raise AccessError(f"the identity provider says {subject!r}, who is nobody's name here (`people`).")
        ticket, now = secrets.token_urlsafe(32), time.monotonic()
        self._names = {key: entry for key, entry in self._names.items() if entry[1] > now}
        self._names[_digest(ticket)] = name, now + PATIENCE_S
        return ticket

    def _open(self, name: str, passphrase: str) -> PersonKey:
        paths: list[Path] = []

        def ask(path: Path) -> bytes:
            paths.append(path)
            return passphrase.encode()

        key = open_key(self.settings.keys / f"{name}.key", ask)
        if not paths:  # then the provider's word alone would sign
            raise AccessError(f"the key of {name} is under no passphrase.")
        return key


def hosted_server(
    settings: HostedPage, home: Path, commands: Mapping[str, Command], port: int, say: Callable[[str], None]
) -> Server:
    """The page's server; `say` is called with its address.

    Raises:
        ConfigError: a secret that others can read.
    """
    address = PageAddress(settings.listen, port, settings.name, settings.tls or Path())
    secret = read_secret(settings.secret, "the secret of the page's registration") if settings.secret else ""
    trust = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    provider = IdentityProvider(settings.issuer, settings.client, secret, f"{address.url}oidc/back", trust)
    hosted, cookie = HostedLogin(settings, provider, home, commands), f"consilium-{port}"
    pages = HospitalPages(
        lambda request: hosted.person_of(request, cookie), lambda request: request.cookies.get(cookie, "")
    )
    at_provider = el("p", el("a", f"Log in at {settings.issuer}", href="/oidc", class_="button"))
    app = PageApp(
        hosted.login, "hospital", at_provider, lambda app: [*pages.routes(), *_routes(hosted, app)], WAYS,
        address.hosts, secure=not address.is_local, cookie=cookie, has_links=False,
        open_paths=OPEN | {"/oidc", "/oidc/back", "/login/key"},
    )  # fmt: skip
    return server(app, address, say)


def _routes(hosted: HostedLogin, app: PageApp) -> list[Route]:
    """The way through the provider and back. Its cookie is Lax: the provider's page sends the browser here."""
    cookie = f"{app.cookie}-login"

    def keep(answer: Response, value: str) -> Response:
        answer.set_cookie(cookie, value, max_age=int(PATIENCE_S), httponly=True, samesite="lax", secure=app.secure)
        return answer

    async def begin(_: Request) -> Response:
        try:
            address, state = await run_in_threadpool(hosted.provider.begin)
        except ConsiliumError as error:
            return app.form(str(error), 503)
        return keep(RedirectResponse(address, 303), state)

    async def back(request: Request) -> Response:
        query, own_state = request.query_params, request.cookies.get(cookie, "")
        try:
            subject = await run_in_threadpool(
                hosted.provider.subject, query.get("state", ""), own_state, query.get("code", "")
            )
            ticket = hosted.name(subject)
        except ConsiliumError as error:
            return app.form(f"Not let in: {error}", 403)
        # No redirect: what the provider's page has begun brings no SameSite=Strict cookie; a form of this page does.
        body: list[Child] = [el("h1", "Your key"), _key_form(hosted.settings.people[subject])]
        return keep(HTMLResponse(page("Your key – Consilium", "hospital", {}, body)), ticket)

    async def enter(request: Request) -> Response:
        try:
            passphrase = (await form_fields(request)).get("passphrase", "")
        except ConfigError as error:
            return Response(str(error), 400)
        ticket = request.cookies.get(cookie, "")
        answer = await app.let_in(lambda: hosted.enter(ticket, passphrase))
        answer.delete_cookie(cookie, httponly=True, samesite="lax", secure=app.secure)
        return answer

    return [Route("/oidc", begin), Route("/oidc/back", back), Route("/login/key", enter, methods=["POST"])]


def _key_form(name: str) -> Child:
    return el(
        "form", el("p", f"You are {name}, says the identity provider. What you sign, you sign with your own key."),
        el("label", f"Passphrase of {name}.key", for_="passphrase"),
        el("input", id="passphrase", name="passphrase", type="password", autocomplete="off", required="", autofocus=""),
        el("button", "Open my key", type="submit"), method="post", action="/login/key", class_="login",
    )  # fmt: skip


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
