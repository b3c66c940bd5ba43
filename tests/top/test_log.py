# SPDX-License-Identifier: AGPL-3.0-or-later
"""The log's lines: for people and for the journal, counted where they repeat, and without what is secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from daemon.redaction import Redactor

SCRIPT = """
import logging, sys, threading, time
from daemon import log
from daemon.redaction import redactor
log.REPEATS_WITHIN_S = 0.5
redactor.know("keeper", "s3cret/pass word")
said = log.set_up("recorder")
"""


def lines_of(script: str, *, journal: bool = False) -> list[str]:
    """What a process that runs this writes to standard error."""
    reading, writing = os.pipe()
    stream = os.fstat(writing)
    environment = {**os.environ, "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino if journal else 0}"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT + script], stderr=writing, env=environment)
    os.close(writing)
    with os.fdopen(reading) as written:
        lines = written.read().splitlines()
    process.wait(20)
    return lines


def objects_of(script: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(script, journal=True)]


def test_a_person_reads_time_level_process_and_camera() -> None:
    """One line each; what could move a terminal's cursor or begin another line is no part of it."""
    first, second = lines_of(
        'said.info("it is %s", "there"); said.warning("a\\nb\\x1b[2J", extra={"camera": "hall", "count": 3})'
    )
    assert first.split(" ", 1)[1] == "info     recorder: it is there"
    assert len(first.split(" ")[0]) == len("2026-11-23T16:05:09.123Z")
    assert second.split(" ", 1)[1] == "warning  recorder hall: a b [2J count=3"


def test_the_journal_gets_one_object_a_line() -> None:
    """With the same fields; a traceback is one of them, so that it stays in its line."""
    first, second = objects_of(
        'said.info("it is there", extra={"camera": "hall"})\ntry: 1/0\nexcept Exception: said.exception("failed")'
    )
    at = first.pop("at")
    assert at.endswith("Z")
    assert first == {"level": "info", "process": "recorder", "camera": "hall", "event": "it is there"}
    assert second["level"] == "error"
    assert "ZeroDivisionError" in second["exception"]


def test_a_variable_that_was_only_inherited_makes_no_json() -> None:
    """A terminal started from a service has JOURNAL_STREAM too; the stream itself tells."""
    assert not lines_of('said.info("x")')[0].startswith("{")


@pytest.mark.parametrize("journal", [False, True])
def test_no_secret_is_written(journal: bool) -> None:
    """In no form, in messages, fields and tracebacks, also those of a fault that nobody caught."""
    script = """
said.info("%s and %s", "s3cret/pass word", "s3cret%2fpass%20word", extra={"why": "Basic a2VlcGVyOnMzY3JldC9wYXNzIHdvcmQ="})
said.info("rtsp://someone:unknown@host/path; keeper; a shopkeeper")
def fail(): raise ValueError("s3cret/pass word")
thread = threading.Thread(target=fail, name="reader"); thread.start(); thread.join()
logging.getLogger("a.library").warning("it had keeper's s3cret/pass word")
fail()
"""
    text = "\n".join(lines_of(script, journal=journal))
    assert text.count("ValueError: …") == 2
    assert "rtsp://…@host/path; …; a shopkeeper" in text
    for canary in ("s3cret", "a2VlcGVy", "unknown", "keeper's"):
        assert canary not in text


def test_repeats_are_counted_and_told() -> None:
    """Written once; the count follows by itself, or when the source says something else, or at the end."""
    script = """
for _ in range(5): said.warning("again")
time.sleep(0.9)
for _ in range(3): said.warning("again")
said.warning("other")
said.warning("other")
"""
    told = [(line["event"], line.get("repeated")) for line in objects_of(script)]
    assert told == [
        ("again", None),
        ("again (repeated 4 times)", 4),
        ("again", None),
        ("again (repeated 2 times)", 2),
        ("other", None),
        ("other (repeated 1 times)", 1),
    ]


def test_transitions_are_never_left_out() -> None:
    """A camera that comes and goes says so each time, also while another one says the same things."""
    script = """
for _ in range(3):
    for camera in ("hall", "yard"):
        for state in ("streaming", "waiting"): said.info(state, extra={"camera": camera})
"""
    assert [(each["camera"], each["event"]) for each in objects_of(script)] == [
        (camera, state) for _ in range(3) for camera in ("hall", "yard") for state in ("streaming", "waiting")
    ]


def test_a_short_secret_does_not_eat_other_words() -> None:
    """It is replaced where it stands alone; one of eight letters or more also inside a word."""
    redactor = Redactor()
    redactor.know("cam", "longenough")
    assert redactor.clean("camera cam:longenough xlongenoughx CAM") == "camera …:… x…x …"
    assert Redactor().clean("camera") == "camera"


def test_no_secret_is_no_secret() -> None:
    """A camera without credentials, or with an empty password, changes no text."""
    redactor = Redactor()
    redactor.know()
    assert redactor.clean("all is well") == "all is well"
    redactor.know("operator", "")
    assert redactor.clean("all is well") == "all is well"
