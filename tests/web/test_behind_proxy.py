"""What is believed of a proxy's headers, and which pages may open a socket then."""

from __future__ import annotations

from typing import Any

import pytest

from panel.behind_proxy import as_told

from .conftest import HOST, ORIGIN, Browser, websocket

PUBLIC = "https://panel.example:8443"


def scope(peer: str | None, *forwarded: str, proto: str = "", kind: str = "http") -> dict[str, Any]:
    headers = [(b"x-forwarded-for", one.encode("latin-1")) for one in forwarded]
    headers += [(b"x-forwarded-proto", proto.encode())] if proto else []
    return {"type": kind, "headers": headers, "client": [peer, 40000] if peer else None}


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", None])
@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (("198.51.100.7",), "198.51.100.7"),
        (("203.0.113.9, 198.51.100.7",), "198.51.100.7"),
        (("203.0.113.9", "198.51.100.7 "), "198.51.100.7"),
        (("203.0.113.9,2001:DB8:0::7",), "2001:db8::7"),
        (("::ffff:198.51.100.7",), "198.51.100.7"),
    ],
)
def test_of_a_peer_on_this_machine_the_last_entry_is_the_visitor(
    peer: str | None, forwarded: tuple[str, ...], address: str
) -> None:
    assert as_told(scope(peer, *forwarded))["client"][0] == address


@pytest.mark.parametrize("peer", ["198.51.100.1", "10.0.0.7", "fe80::1", "::ffff:10.0.0.7", "2001:db8::1"])
def test_a_peer_from_elsewhere_is_itself_whatever_it_says(peer: str) -> None:
    came = scope(peer, "127.0.0.1", proto="https")
    assert as_told(came) == came


@pytest.mark.parametrize("forwarded", ["", ",", "unknown", "203.0.113.9, ", "203.0.113.9, _hidden", "198.51.100.7:80", "\xff"])
def test_where_the_last_entry_is_no_address_the_peer_counts(forwarded: str) -> None:
    assert as_told(scope("127.0.0.1", forwarded))["client"] == ["127.0.0.1", 40000]
    assert as_told(scope(None, forwarded))["client"] is None


def test_the_scheme_is_the_proxys() -> None:
    assert as_told(scope("127.0.0.1", proto="https"))["scheme"] == "https"
    assert as_told(scope("127.0.0.1", proto="http, https", kind="websocket"))["scheme"] == "wss"
    for unsaid in ("", "http", "https, http"):
        assert "scheme" not in as_told(scope("127.0.0.1", proto=unsaid))


@pytest.mark.parametrize(
    ("scheme", "origin", "code"),
    [
        (None, PUBLIC, 0),
        (None, ORIGIN, 0),
        (None, f"https://{HOST}", 0),
        ("wss", PUBLIC, 0),
        ("wss", f"https://{HOST}", 0),
        ("wss", ORIGIN, 4401),
        (None, PUBLIC.replace("https", "http"), 4401),
        (None, "https://panel.example", 4401),
        (None, "https://evil.example", 4401),
        (None, "http://[", 4401),
        (None, "", 4401),
    ],
)
async def test_a_page_of_the_public_url_opens_a_socket_whatever_name_the_proxy_asks_by(
    scheme: str | None, origin: str, code: int, browser: Browser, staff: Any, worker: Any, settings: Any
) -> None:
    settings.TERRARIUM_PUBLIC_URL = PUBLIC
    await browser.log_in("staff")
    socket = websocket("/ws/live/", cookie=browser.cookie, origin=origin)
    if scheme:
        socket.scope["scheme"] = scheme
    assert (await socket.connect())[0]
    first = await socket.receive_output()
    assert first.get("code", 0) == code
    await socket.disconnect()
