"""The proxy that the environment names (HTTPS_PROXY, ALL_PROXY, NO_PROXY), as the line to the coordinator obeys it."""

import socket
import urllib.request
from urllib.parse import urlsplit

MOST_HEAD = 65_536


def proxy_for(host: str) -> str:
    """The proxy through which `host` is reached, without user and password; empty: none."""
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get("https") or proxies.get("all") or ""
    if not proxy or urllib.request.proxy_bypass(host):
        return ""
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 80}"


def connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """A TCP connection to a host: straight, or through the proxy of the environment.

    Raises:
        OSError: it does not come about; names the proxy where there is one.
    """
    proxy = proxy_for(host)
    if not proxy:
        return socket.create_connection((host, port), timeout_s)
    parts = urlsplit(proxy)
    try:
        raw = socket.create_connection((parts.hostname or "", parts.port or 80), timeout_s)
    except OSError as error:
        raise OSError(f"the proxy {proxy} cannot be reached ({error.strerror or error})") from None
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    raw.sendall(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode("ascii"))
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
