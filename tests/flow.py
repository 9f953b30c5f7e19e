"""How fast bytes go over one TCP connection, by the kernel's own count of them: what waits in a buffer has not gone."""

from __future__ import annotations

import socket
import struct
import time

SETTLED = 0.5  # seconds after which a token bucket's first burst is over
_CONNECT_SECONDS = 60.0
_ACKNOWLEDGED = 120  # offset of tcpi_bytes_acked in struct tcp_info; tcpi_bytes_received is the next (linux/tcp.h)


def flow(address: str, *, to_sandbox: bool, seconds: float = 2.0) -> float:
    """Bytes a second to or from port 7000 there, which somebody may only just be about to open."""
    with _connected(address) as line:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            line.setsockopt(socket.SOL_SOCKET, option, 32768)
        _go_on(line, SETTLED, to_sandbox)
        began, before = time.monotonic(), _passed(line)
        _go_on(line, seconds, to_sandbox)
        return (_passed(line) - before) / (time.monotonic() - began)


def _go_on(line: socket.socket, seconds: float, to_sandbox: bool) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if to_sandbox:
            line.send(bytes(16384))
        else:
            line.recv(65536)


def _passed(line: socket.socket) -> int:
    return sum(struct.unpack_from("=QQ", line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), _ACKNOWLEDGED))


def _connected(address: str) -> socket.socket:
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            return socket.create_connection((address, 7000), timeout=30)
        except OSError:
            assert time.monotonic() < deadline, address
            time.sleep(0.05)
