"""The proxy on the way to the coordinator: that of `site.yaml`, else of HTTPS_PROXY, ALL_PROXY, NO_PROXY.

A proxy is one text here, `http://user:password@host:port`: what it holds of user and password is never printed.
"""

import socket
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from client.site_settings import SiteSettings
from common.storage.secret_files import read_secret

MOST_HEAD = 65_536


def of_site(settings: SiteSettings, folder: Path) -> str:
    """The proxy of `site.yaml`, with its user and password; empty: none there.

    Raises:
        ConfigError: the file of the password is not there, or others can read it.
    """
    proxy = settings.proxy
    if proxy is None or proxy.user is None:
        return proxy.url if proxy else ""
    password = read_secret(folder / proxy.password.expanduser(), "a password") if proxy.password else ""
    return proxy.url.replace("://", f"://{quote(proxy.user, safe='')}:{quote(password, safe='')}@", 1)


def proxy_for(host: str, site_proxy: str = "") -> str:
    """The proxy through which `host` is reached, without user and password; empty: none.

    Args:
        site_proxy: that of `site.yaml`, which counts whatever the environment says.
    """
    proxy = site_proxy or _of_environment(host)
    if not proxy:
        return ""
    parts = urlsplit(proxy)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{name}:{parts.port or 80}"


def _of_environment(host: str) -> str:
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get("https") or proxies.get("all") or ""
    if not proxy or urllib.request.proxy_bypass(host):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def connect(host: str, port: int, timeout_s: float, site_proxy: str = "") -> socket.socket:
    """A TCP connection to a host: straight, or through the proxy.

    Raises:
        OSError: it does not come about; names the proxy where there is one.
    """
    proxy = proxy_for(host, site_proxy)
    if not proxy:
        return socket.create_connection((host, port), timeout_s)
    parts = urlsplit(proxy)
    if parts.scheme != "http":
        raise OSError(f"the proxy {proxy}: expected http://; encrypted to the coordinator is all in any case")
    try:
        raw = socket.create_connection((parts.hostname or "", parts.port or 80), timeout_s)
    except OSError as error:
        raise OSError(f"the proxy {proxy} cannot be reached ({error.strerror or error})") from None
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    raw.sendall(
        f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n{_credentials(site_proxy or _of_environment(host))}\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MOST_HEAD:
        if not (byte := raw.recv(1)):  # one by one: what follows the head is TLS already
            break
        head += byte
    status = head.split(b"\r\n")[0].decode("latin-1")
    if " 200 " not in f"{status} ":
        raw.close()
        raise OSError(f"the proxy {proxy} does not let it through ({status[:80] or 'no answer'})")
    return raw


def _credentials(proxy: str) -> str:
    """The line of the request that says who asks (RFC 7617); empty where nobody is named."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
