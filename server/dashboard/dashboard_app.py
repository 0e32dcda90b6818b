"""The live page's application and process. Nothing here acts on the consortium.

GET  /                       the live page
GET  /runs/NAME              the same of one run, /runs/NAME/report.html its report
GET  /catalogue              what partners offer
GET  /errors                 what error codes mean
GET  /events                 what changes on a page (server-sent events; ?run=NAME)

Who is let in, and how: `common.web.page_app`.
"""

from collections.abc import Callable, Sequence

from starlette.routing import Route

from common.errors import ConfigError
from common.web.login import Login
from common.web.page_app import PageApp
from common.web.page_server import PageAddress, Server, show_link
from common.web.page_server import serve as serve_page
from common.web.page_server import server as server_of
from server.consortium.home import Home
from server.dashboard.pages import WAYS, Pages
from server.dashboard.push import EventStreams

HOW = "Follow the link that `python -m server dashboard` shows at its start. It works once."


def login_of(home: Home) -> Login:
    """Password, links and sessions of a coordinator's page."""
    return Login(home.folder / "dashboard.password", home.live / "dashboard.json")


def serve(home: Home, listen: str, port: int) -> int:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: no address of this machine, or more than this machine is to reach it without a password.
        RunError: the port is taken.
    """
    is_local = PageAddress(listen, port).is_local
    if not is_local and not login_of(home).has_password:
        raise ConfigError(f"--listen {listen} lets other machines in, so set a password: --set-password.")

    def build(port: int) -> Server:
        page_server = server(home, listen, port, show_link)
        if not is_local:
            print("Other machines can reach this page, with TLS by the consortium's own certificate. It is safer on")
            print("loopback, reached through `ssh -L` (docs/dashboard.md).")
        return page_server

    return serve_page(build, listen, port)


def server(home: Home, listen: str, port: int, say: Callable[[str], None]) -> Server:
    """The live page's server; `say` is called with a link to it."""
    address = address_of(home, listen, port)
    return server_of(_dashboard(home, address), address, say)


def address_of(home: Home, listen: str, port: int) -> PageAddress:
    """Where the page is; for other machines under the coordinator's name, with its certificate."""
    name = home.settings.address.rpartition(":")[0].strip("[]")
    return PageAddress(listen, port, name, home.folder / "tls")


def _dashboard(home: Home, address: PageAddress) -> PageApp:
    def routes(page: PageApp) -> Sequence[Route]:
        streams = EventStreams(home, lambda request: not page.stopping() and page.admits(request))
        return [*Pages(home, streams.current_content).routes(), Route("/events", streams.events)]

    return PageApp(
        login_of(home), home.settings.consortium, HOW, routes, WAYS, address.hosts,
        home.log.record, not address.is_local, f"consilium-{address.port}",
    )  # fmt: skip
