# SPDX-License-Identifier: AGPL-3.0-or-later
"""Schema 7: what people made of incidents has a table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.create_table(
        "assessments",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("incident", sa.String(), nullable=False),
        sa.Column("ledger_seq", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("at", "says", "by", "note")),
    )
    op.create_index("assessments_incident", "assessments", ["incident", "ledger_seq"])
