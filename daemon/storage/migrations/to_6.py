# SPDX-License-Identifier: AGPL-3.0-or-later
"""Schema 6: an incident's evidence_count is that of its own camera's stills, no clips and no siblings; its index tells kinds."""

from __future__ import annotations

from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.drop_index("evidence_incident")
    op.create_index("evidence_incident", "evidence", ["incident", "captured_at_ns", "id", "kind"])
    op.execute(
        "UPDATE incidents SET evidence_count = (SELECT count(*) FROM evidence "
        "WHERE evidence.incident = incidents.id AND evidence.kind NOT IN ('clip', 'sibling'))"
    )
