# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks the credentials of an RTSP request: Digest with MD5 (RFC 2617) and Basic (RFC 7617), as old cameras do.

For tests on loopback only: one nonce for the life of the farm, no protection against replay.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

REALM = "firewitness-simulate"


class Authenticator:
    """One user and password."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._nonce = secrets.token_hex(16)
        self.challenges = (
            f'Digest realm="{REALM}", nonce="{self._nonce}", algorithm=MD5',
            f'Basic realm="{REALM}"',
        )

    def accepts(self, method: str, authorization: str) -> bool:
        """Whether the value of an Authorization header is right for this request method."""
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "basic":
            expected = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
            return secrets.compare_digest(rest.strip(), expected)
        return scheme.lower() == "digest" and self._digest_is_right(method, rest)

    def _digest_is_right(self, method: str, text: str) -> bool:
        given = {k.lower(): a or b for k, a, b in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', text)}
        secret = _md5(self._user, REALM, self._password)
        target = _md5(method, given.get("uri", ""))
        middle = [given.get("nonce", "")]
        if "qop" in given:
            middle += [given.get("nc", ""), given.get("cnonce", ""), given["qop"]]
        expected = _md5(secret, *middle, target)
        return given.get("nonce") == self._nonce and secrets.compare_digest(given.get("response", ""), expected)


def _md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()
