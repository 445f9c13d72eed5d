"""What a socket is connected to, as Linux tells in /proc/self/net.

A socket object made for the descriptor would tell the same, but making one sets the descriptor's
blocking mode if the program has set a default timeout.
"""

from __future__ import annotations

import sys
from pathlib import Path

_TABLES = {"tcp": "TCP", "tcp6": "TCP", "udp": "UDP", "udp6": "UDP"}
_LISTENING = "0A"


def describe_sockets() -> dict[str, str]:
    """Return the sockets of this network namespace: link text of a descriptor -> in words."""
    sockets: dict[str, str] = {}
    for table, protocol in _TABLES.items():
        for row in _rows(table):
            sockets[f"socket:[{row[9]}]"] = _internet(protocol, row)
    for row in _rows("unix"):
        sockets[f"socket:[{row[6]}]"] = " ".join(["Unix socket", *row[7:8]])
    return sockets


def _rows(table: str) -> list[list[str]]:
    try:
        content = Path(f"/proc/self/net/{table}").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no such family in this kernel
        return []
    return [line.split() for line in content.splitlines()[1:]]


def _internet(protocol: str, row: list[str]) -> str:
    local, peer, state = address(row[1]), address(row[2]), row[3]
    if state == _LISTENING:
        return f"{protocol} socket listening on {local}"
    if peer.endswith(":0"):
        return f"{protocol} socket {local}"
    return f"{protocol} socket {local} to {peer}"


def address(text: str) -> str:
    """Turn the kernel's hexadecimal address into the usual one; words are in the host's order.

    >>> address("0100007F:0050")
    '127.0.0.1:80'
    """
    from socket import AF_INET, AF_INET6, inet_ntop

    host, _, port = text.partition(":")
    words = [bytes.fromhex(host[i : i + 8]) for i in range(0, len(host), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    family, form = (AF_INET6, "[{}]:{}") if len(words) > 1 else (AF_INET, "{}:{}")
    return form.format(inet_ntop(family, packed), int(port, 16))
