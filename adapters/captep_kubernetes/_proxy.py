"""Which proxy a request takes, as Go decides it (golang.org/x/net/http/httpproxy).

The kubeconfig's `proxy-url` goes before everything, NO_PROXY included. Of the environment count
HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in capitals first; kubectl never reads ALL_PROXY.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import urllib3
from attrs import field, frozen

from captep_core.errors import GatewayError

__all__ = ["Proxy", "proxy_for"]

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@frozen
class Proxy:
    """One proxy: its address without credentials, and the headers that carry them."""

    url: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)


def proxy_for(
    server: str, proxy_url: str, where: str, environment: Mapping[str, str]
) -> Proxy | None:
    """Return the proxy for `server`, None for a direct connection.

    Args:
        server: the server's URL.
        proxy_url: the kubeconfig's `proxy-url`, "" for none.
        where: the field that holds `proxy_url`, for errors.
        environment: the variables of the process.

    Raises:
        GatewayError: the proxy cannot be used; names the field or the variable.
    """
    if proxy_url:
        return _proxy(proxy_url, where)
    split = urlsplit(server)
    host = split.hostname or ""
    port = split.port or _DEFAULT_PORTS[split.scheme]
    names = (f"{split.scheme.upper()}_PROXY", f"{split.scheme}_proxy")
    name, found = _first(environment, names)
    if not found or not _uses_proxy(host, port, _first(environment, ("NO_PROXY", "no_proxy"))[1]):
        return None
    return _proxy(found if "://" in found else f"http://{found}", f"${name}")


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    for name in names:
        if environment.get(name):
            return name, environment[name]
    return names[0], ""


def _proxy(url: str, where: str) -> Proxy:
    problem = GatewayError(f"{where}: expected an http:// or https:// address of a proxy")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise problem from None
    if split.scheme not in _DEFAULT_PORTS or not split.hostname:
        raise problem
    host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    address = f"{split.scheme}://{host}:{port or _DEFAULT_PORTS[split.scheme]}"
    if split.username is None:
        return Proxy(address)
    credentials = f"{unquote(split.username)}:{unquote(split.password or '')}"
    try:
        return Proxy(address, urllib3.make_headers(proxy_basic_auth=credentials))
    except UnicodeError:
        raise problem from None


def _uses_proxy(host: str, port: int, no_proxy: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    entries = [entry.strip().lower() for entry in no_proxy.split(",")]
    return not any(entry and _matches(entry, host.lower(), port, address) for entry in entries)


def _matches(
    entry: str,
    host: str,
    port: int,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
        return address is not None and address in network
    name, with_port = _split_port(entry)
    if with_port not in (None, port):
        return False
    wanted = _address(name)
    if wanted is not None:
        return wanted == address
    # `.example.com` and `*.example.com` match subdomains alone, `example.com` matches itself too.
    suffix = name.removeprefix("*")
    if suffix.startswith("."):
        return host.endswith(suffix)
    return host == suffix or host.endswith(f".{suffix}")


def _split_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    is_port = bool(colon) and port.isascii() and port.isdigit() and len(port) <= 5
    if is_port and (":" not in name or name.endswith("]")):
        return name.strip("[]"), int(port)
    return entry.strip("[]"), None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
