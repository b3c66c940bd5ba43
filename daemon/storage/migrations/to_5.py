# SPDX-License-Identifier: AGPL-3.0-or-later
"""Schema 5: clips, the incidents that they serve, and what is attested of those that still grow, have tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.create_table(
        "clips",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("run", sa.String(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("frames", "first_pts", "last_pts")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("from_at_ns", "to_at_ns")),
    )
    op.create_index("clips_run", "clips", ["run", "first_pts"])
    op.create_table(
        "clip_incidents",
        sa.Column("incident", sa.String(), primary_key=True),
        sa.Column("clip", sa.String(), primary_key=True),
    )
    op.create_index("ix_clip_incidents_clip", "clip_incidents", ["clip"])
    op.create_table(
        "segments",
        sa.Column("clip", sa.String(), primary_key=True),
        sa.Column("from_byte", sa.Integer(), primary_key=True),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
    )
