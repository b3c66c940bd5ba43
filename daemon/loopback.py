# SPDX-License-Identifier: AGPL-3.0-or-later
"""Listening addresses: how a URL has one, and whether it is this host's alone: evidence and simulated cameras are shown only there."""

from __future__ import annotations

import ipaddress


def in_url(host: str) -> str:
    """A listening address as a URL has it: an IPv6 one in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


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
