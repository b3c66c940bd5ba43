# SPDX-License-Identifier: AGPL-3.0-or-later
"""Schema 2: manual incidents have a reason; what the purge by space and of drills looks for has an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.add_column("incidents", sa.Column("reason", sa.String(), nullable=False, server_default=""))
    op.create_index("evidence_space", "evidence", ["camera", "kind", "ledger_seq", "bytes"])
    op.create_index("evidence_drill", "evidence", ["captured_at_ns"], sqlite_where=sa.text("drill"))
