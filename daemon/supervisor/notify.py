# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tells systemd how the service is: the datagrams of sd_notify(3)."""

from __future__ import annotations

import os
import socket


def notify(**states: str) -> None:
    """Sends e.g. READY="1", STATUS="…"; does nothing when no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace of unix(7)
        address = "\0" + address[1:]
    text = "\n".join(f"{name}={value}" for name, value in states.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.sendto(text.encode(), address)
        except OSError:
            return  # a lost status line must not stop the recording


def watchdog_period_s() -> float | None:
    """How long systemd waits for WATCHDOG=1 before it restarts us (sd_watchdog_enabled(3)); None: not at all."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() and int(text) else None
