"""Is the coordinator's address reached from this machine, on the way that the site's own connection takes?"""

import ssl
import time
from collections.abc import Iterator

from client.connection.proxy import connect, of_site, proxy_for
from client.home import Home
from common.monitoring.check_result import CheckResult

CONNECT_S = 10.0


def look(home: Home) -> Iterator[CheckResult]:
    """The gateway, its certificate, and the proxy between where the environment names one."""
    host, _, port = home.address.rpartition(":")
    site_proxy = of_site(home.settings, home.folder)
    context = ssl.create_default_context(cafile=str(home.authority))
    try:
        with (
            connect(host.strip("[]"), int(port), CONNECT_S, site_proxy) as raw,
            context.wrap_socket(raw, server_hostname=host.strip("[]")) as secured,
        ):
            peer = secured.getpeercert() or {}
            until = ssl.cert_time_to_seconds(str(peer["notAfter"]))
            days = (until - time.time()) / 86_400
            through = f", through the proxy {proxy}" if (proxy := proxy_for(host.strip("[]"), site_proxy)) else ""
            text = f"{home.address}, certificate valid for {days:.0f} days, {secured.version()}{through}"
            yield CheckResult(True, text)
    except ssl.SSLCertVerificationError as error:
        yield CheckResult(
            False,
            f"{home.address}: the certificate is not the consortium's ({error.verify_message})",
            "Something between here and there opens TLS (a proxy?), or the address is another's. Do not go on; ask "
            "your network people to let this one address through untouched.",
        )
    except OSError as error:
        yield CheckResult(
            False,
            f"{home.address}: {error.strerror or error}",
            f"Ask your network people to let this machine out to {host}, TCP port {port}; and the coordinator whether "
            f"the server is up.{_about_proxy(host.strip('[]'), site_proxy)}",
        )


def _about_proxy(host: str, site_proxy: str) -> str:
    proxy = proxy_for(host, site_proxy)
    if not proxy:
        return ""
    if site_proxy:
        return f" site.yaml names the proxy {proxy}, and it is obeyed."
    return f" HTTPS_PROXY or ALL_PROXY names {proxy}, and is obeyed; NO_PROXY={host} goes past it."
