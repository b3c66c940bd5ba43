# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether an address is this host's alone: evidence is served, and simulated cameras are shown, only there."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a listening address can be reached from this host alone."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
