"""Requests to where a registry sends us: for its blobs, for a token. Over https, and to public addresses only.

A name is asked for once, and what is connected to is an address that was looked at: a name server that answers differently
the second time gains nothing. The name stays that of the certificate and of the Host header.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from ...errors import KernelRefused, PolicyRefused

SECONDS = 30.0  # without a byte


class _Connection(urllib3.connection.HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        last = OSError("no address")
        for address in public_addresses(self.host, self.port or 443):
            try:
                return socket.create_connection(address, timeout=SECONDS)
            except OSError as error:
                last = error
        raise urllib3.exceptions.NewConnectionError(self, f"{type(last).__name__}")


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}


def session() -> requests.Session:
    """It knows no other scheme than https."""
    made = requests.Session()
    made.trust_env = False  # no credentials of root's .netrc
    made.adapters.clear()
    made.mount("https://", _Adapter())
    return made


def check_url(url: str) -> None:
    """Before it is asked. Raises PolicyRefused."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise _refused(parts.netloc)


def public_addresses(host: str, port: int) -> list[tuple[str, int]]:
    """All of a host's addresses; PolicyRefused when one is of this machine or of a private network."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise KernelRefused(f"There is no {host[:100]}.", code="registry", hint="Try again later.") from None
    texts = [str(address[0]) for *_, address in found]
    if not all(ipaddress.ip_address(text.partition("%")[0]).is_global for text in texts):
        raise _refused(host)
    return [(text, port) for text in texts]


def _refused(host: str) -> PolicyRefused:
    return PolicyRefused(f"The registry sends us to {host[:100]}, which is not asked.", hint="Use another registry.")
