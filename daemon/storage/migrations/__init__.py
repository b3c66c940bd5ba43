# SPDX-License-Identifier: AGPL-3.0-or-later
"""Brings an index of an earlier version to this one's schema: one module a step, each one transaction.

The version is SQLite's `user_version`, where also a Firewitness that is older than the index sees it and refuses;
Alembic makes the changes, its version table would be a second place for the same fact (docs/decisions/0007).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from daemon.errors import StoreError
from daemon.storage.migrations import to_2, to_3, to_4, to_5, to_6, to_7

STEPS: dict[int, Callable[[Operations], None]] = {
    2: to_2.upgrade, 3: to_3.upgrade, 4: to_4.upgrade, 5: to_5.upgrade, 6: to_6.upgrade,
    7: to_7.upgrade,
}  # fmt: skip
"""The version that each makes of the one before."""
SCHEMA = max(STEPS)
_log = logging.getLogger("firewitness.index")


def version_of(connection: Connection) -> int:
    """0 for a database without tables."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def check(version: int, path: Path) -> None:
    """Raises StoreError `wrong` for an index that this program cannot know."""
    if version > SCHEMA:
        raise StoreError(
            "wrong",
            f"{path} has schema {version}, and this Firewitness knows {SCHEMA}: install the newer one again, "
            "or make the index anew with `firewitness reindex`",
        )


@contextmanager
def to_version(connection: Connection, version: int) -> Iterator[None]:
    """One transaction, begun by hand: the driver begins none before a CREATE. `connection` as that of `migrate`."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def migrate(connection: Connection, path: Path) -> None:
    """Step by step to SCHEMA; a kill leaves the version before or after a step, and the copy `index-v<N>.sqlite` beside it.

    `connection` commits by itself (AUTOCOMMIT), has no transaction open and is the only writer.
    """
    version = version_of(connection)
    check(version, path)
    if version == SCHEMA:
        return
    _keep_copy(connection, path, version)
    while version < SCHEMA:
        version += 1
        with to_version(connection, version):
            STEPS[version](Operations(MigrationContext.configure(connection)))
        _log.info("the index has schema %d now", version)


def _keep_copy(connection: Connection, path: Path, version: int) -> None:
    """One copy for each version, the newest. Without room for it the migration goes on: the index is a cache."""
    copy = path.with_name(f"index-v{version}.sqlite")
    part = copy.with_name(f".{copy.name}.part")
    part.unlink(missing_ok=True)
    free = os.statvfs(path.parent)
    if free.f_bavail * free.f_frsize < 2 * path.stat().st_size:
        _log.warning(
            "no room for a copy of the index before it is migrated; ledger and stills are what it is made from"
        )
        return
    connection.exec_driver_sql("VACUUM INTO ?", (str(part),))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(copy)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    _log.info("the index of schema %d is kept as %s", version, copy.name)
