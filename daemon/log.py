# SPDX-License-Identifier: AGPL-3.0-or-later
"""One log for every process: to standard error, readable on a terminal, JSON where the system journal takes it.

Whoever has something to say uses the standard library's loggers; the camera it is about goes in `extra`. Here a line gets
its fields, loses its secrets, and is counted instead of written where it only says again what was said last.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from structlog.processors import JSONRenderer, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level
from structlog.typing import EventDict, Processor

from daemon.clock import rfc3339
from daemon.redaction import redactor

REPEATS_WITHIN_S = 60.0
_NO_SECRETS = frozenset(("at", "level", "process", "camera"))  # ours: a camera may be called what another's user is
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def set_up(process: str, camera: str | None = None) -> logging.Logger:
    """The logger of this process, whose name (and camera, where it has one) stands in each line."""
    handler = Counting()
    handler.setFormatter(_format(process, camera, in_json=_goes_to_the_journal()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)  # what libraries have to say
    logger = logging.getLogger("firewitness")
    logger.setLevel(logging.INFO)
    sys.excepthook = _say_uncaught
    threading.excepthook = _say_uncaught_in_thread
    return logger


def _goes_to_the_journal() -> bool:
    """As systemd.exec(5) wants it checked: the variable is inherited also where the stream is another one."""
    stream = os.fstat(sys.stderr.fileno())
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def _format(process: str, camera: str | None, *, in_json: bool) -> logging.Formatter:
    def fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
        at = rfc3339(round(event["_record"].created * 1e9))
        about = event.pop("camera", camera)
        ours = {"at": at, "level": event.pop("level"), "process": process, **({"camera": about} if about else {})}
        return {**ours, **event}

    processors: list[Processor] = [
        add_log_level, ExtraAdder(), fields, ProcessorFormatter.remove_processors_meta, format_exc_info, _redacted,
        JSONRenderer(ensure_ascii=False) if in_json else _for_people,
    ]  # fmt: skip
    return ProcessorFormatter(processors=processors)


def _redacted(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {
        key: value if key in _NO_SECRETS or isinstance(value, int | float) else redactor.clean(str(value))
        for key, value in event.items()
    }


def _for_people(_logger: Any, _method: str, event: EventDict) -> str:
    at, level, process, text = (event.pop(key) for key in ("at", "level", "process", "event"))
    camera, exception = event.pop("camera", ""), event.pop("exception", "")
    who = f"{process} {camera}" if camera else process
    rest = "".join(f" {key}={value}" for key, value in event.items())
    line = _CONTROL.sub(" ", f"{at} {level:<8} {who}: {text}{rest}")
    return f"{line}\n{exception}" if exception else line


@dataclass(slots=True)
class _Said:
    """The last line of one source, and how often it was said again."""

    record: logging.LogRecord
    what: tuple[Any, ...]
    at_s: float
    timer: threading.Timer | None = None
    times: int = 0


class Counting(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes lines. One that only says again what its source said last is counted, and the count told within a minute.

    A source is a logger and a camera: between two lines that are alike, another of the same source is a transition, and
    nothing of it is left out.
    """

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._last: dict[tuple[str, str], _Said] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Under the handler's lock, as always."""
        source = (record.name, str(getattr(record, "camera", "")))
        what = (record.levelno, record.getMessage(), str(record.exc_info[1]) if record.exc_info else "")
        last = self._last.get(source)
        if last is not None and last.what == what and time.monotonic() - last.at_s < REPEATS_WITHIN_S:
            self._count(source, last)
            return
        self._tell(source)
        self._last[source] = _Said(record, what, time.monotonic())
        super().emit(record)

    def _count(self, source: tuple[str, str], last: _Said) -> None:
        last.times += 1
        if last.timer is None:
            left_s = max(last.at_s + REPEATS_WITHIN_S - time.monotonic(), 0.0)
            last.timer = threading.Timer(left_s, self._time_is_over, (source, last))
            last.timer.daemon = True
            last.timer.start()

    def _time_is_over(self, source: tuple[str, str], last: _Said) -> None:
        self.acquire()
        try:
            if self._last.get(source) is last:
                self._tell(source)
        finally:
            self.release()

    def _tell(self, source: tuple[str, str]) -> None:
        last = self._last.pop(source, None)
        if last is None or last.timer is None:
            return
        last.timer.cancel()
        told = logging.makeLogRecord(last.record.__dict__)
        told.msg, told.args, told.exc_info = f"{last.record.getMessage()} (repeated {last.times} times)", (), None
        told.created = time.time()
        told.__dict__["repeated"] = last.times
        super().emit(told)

    def close(self) -> None:
        """What was counted is not lost with the process."""
        self.acquire()
        try:
            for source in list(self._last):
                self._tell(source)
        finally:
            self.release()
        super().close()


def _say_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("firewitness").critical("ended by a fault", exc_info=(kind, error, trace))


def _say_uncaught_in_thread(fault: threading.ExceptHookArgs) -> None:
    if fault.exc_value is not None:
        name = fault.thread.name if fault.thread is not None else "?"
        told = (fault.exc_type, fault.exc_value, fault.exc_traceback)
        logging.getLogger("firewitness").critical("the thread %s ended by a fault", name, exc_info=told)
