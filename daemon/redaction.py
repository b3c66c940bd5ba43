# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one redactor: replaces what this process knows to be secret in any text, before the text leaves it.

A process knows only the secrets that it needs (daemon/secrets.py, daemon/ingest/plan.py): one that has none cannot leak any.
"""

from __future__ import annotations

import base64
import json
import re
from html import escape
from urllib.parse import quote, quote_plus

MARK = "…"
_SURE_LETTERS = 8  # a shorter secret may be part of an ordinary word: it is replaced where it stands alone
_IN_AN_ADDRESS = re.compile(r"(?<=://)[^\s/?#\"'<>]+@")


class Redactor:
    """What is secret, in every form in which it could be written."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def know(self, *secrets: str) -> None:
        """These are secret from now on; a user name and its password are given together."""
        together = base64.b64encode(":".join(secrets).encode()).decode()  # as HTTP and RTSP send them
        self._forms |= {form for secret in (*secrets, together) for form in _forms(secret)} - {""}
        if not self._forms:
            return  # an empty pattern would match between any two letters
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(_alone_or_sure(form) for form in longest_first), re.IGNORECASE)

    def clean(self, text: str) -> str:
        """The text without secrets, and without credentials of addresses whether known or not."""
        if self._pattern is not None:
            text = self._pattern.sub(MARK, text)
        return _IN_AN_ADDRESS.sub(f"{MARK}@", text)


def _forms(secret: str) -> set[str]:
    written = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), escape(secret)}
    return written | {json.dumps(secret)[1:-1], repr(secret)[1:-1]}


def _alone_or_sure(form: str) -> str:
    return re.escape(form) if len(form) >= _SURE_LETTERS else rf"(?<!\w){re.escape(form)}(?!\w)"


redactor = Redactor()
"""Of this process, as its log is."""
