# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a person makes of an incident: a ledger line beside what was seen, which it neither changes nor hides.

Anybody may be wrong, so that of one incident there can be several: the newest counts, all stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.domain import ASSESSMENTS
from daemon.errors import FirewitnessError
from daemon.ids import new_id
from daemon.storage.store import Store
from daemon.storage.writing import Entry

MOST_BY, MOST_NOTE = 60, 500  # characters


def assess(store: Store, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the line that was written. Raises FirewitnessError for what cannot be one."""
    says = arguments.get("says")
    if says not in ASSESSMENTS:
        raise FirewitnessError(f"assess: says must be one of {', '.join(ASSESSMENTS)}")
    incident = arguments.get("incident")
    if not isinstance(incident, str) or not store.has_incident(incident):
        raise FirewitnessError("assess: there is no such incident")
    told = {"by": _text(arguments, "by", MOST_BY), "note": _text(arguments, "note", MOST_NOTE)}
    body = {"id": new_id(), "incident": incident, "says": says, **told}
    store.commit([Entry("assessment", body)])
    return body


def _text(arguments: Mapping[str, Any], name: str, most: int) -> str:
    given = arguments.get(name, "")
    text = given.strip() if isinstance(given, str) else "\n"
    if len(text) > most or not text.isprintable():
        raise FirewitnessError(f"assess: {name} must be one line of text, of at most {most} characters")
    return text
