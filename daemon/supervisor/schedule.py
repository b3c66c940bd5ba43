# SPDX-License-Identifier: AGPL-3.0-or-later
"""What happens by the clock: APScheduler, sending commands over the control socket like anyone else."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler

from daemon.control import Control
from daemon.errors import FirewitnessError

FIRST_AFTER_S = 60
PURGE_EVERY_S = 3600
HEAD_EVERY_S = 3600
PURGE_TIMEOUT_S = 600
LOOK_EVERY_S = 60


class Schedule:
    """Hourly: the purge of what is due, and the ledger's head into the system journal (a witness outside the disk)."""

    def __init__(self, control_path: Path, log: logging.Logger) -> None:
        self._control, self._log = Control(control_path), log
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        # A job that was missed runs late, once: a purge must not be lost because the host was busy (design, Storage)
        self._scheduler = BackgroundScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        # The first soon: a daemon that is restarted more often than hourly must purge, too
        first = datetime.now(UTC) + timedelta(seconds=FIRST_AFTER_S)
        self._scheduler.add_job(self._purge, "interval", seconds=PURGE_EVERY_S, next_run_time=first)
        self._scheduler.add_job(self._head, "interval", seconds=HEAD_EVERY_S, next_run_time=first)
        self._look_at_s = 0.0

    def start(self) -> None:
        self._scheduler.start()

    def tick(self, now_s: float) -> None:
        """APScheduler goes by the wall clock: one that was set back must not put off by as much what is due hourly."""
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            if job.next_run_time - now > job.trigger.interval + timedelta(seconds=LOOK_EVERY_S):
                job.modify(next_run_time=now)

    def stop(self) -> None:
        self._scheduler.shutdown(wait=False)

    def _purge(self) -> None:
        result = self._ask("purge", {"dry_run": False, "all_due": False})
        if result.get("removed"):
            due = ", ".join(f"{what} {count}" for what, count in result["due_by"].items())
            self._log.info(
                "purge: due %d (%s), removed %d (%.1f MB), left %d; clock %s",
                result["due"], due, result["removed"], result["bytes"] / 1e6, result["left"], result["clock"],
            )  # fmt: skip

    def _head(self) -> None:
        result = self._ask("head", {})
        if result:
            self._log.info("ledger head: seq %s hash %s", result.get("seq"), result.get("hash"))

    def _ask(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._control.ask(name, arguments, timeout_s=PURGE_TIMEOUT_S)
        except FirewitnessError as error:
            self._log.warning("%s: %s; it is tried again in an hour", name, error)
            return {}
