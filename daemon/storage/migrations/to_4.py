# SPDX-License-Identifier: AGPL-3.0-or-later
"""Schema 4: lists without reference stills, of which there are hundreds between two others, have an index of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.create_index("evidence_shown", "evidence", ["captured_at_ns", "id"], sqlite_where=sa.text("kind != 'reference'"))
