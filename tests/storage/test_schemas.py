# SPDX-License-Identifier: AGPL-3.0-or-later
"""The schemas: what every process and test writes is what docs/formats.md promises."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from daemon.domain import ASSESSMENTS, Evidence
from daemon.messages import Analysed
from daemon.storage import record, schemas
from daemon.storage.apply import KINDS
from tests.storage.analysis_kit import analysis_of
from tests.storage.recorder_under_test import Host, Worker, wait_for
from tests.storage.store_kit import ClipWriter, clip_of
from tests.storage.test_record import EVIDENCE

VALUES = {"_ns", "stop", "fault", "age", "space", "drill", "operator", "purged", *ASSESSMENTS}
FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.mark.parametrize("schema", [schemas.RECORD, schemas.HEARTBEAT, *schemas.LINES.values()])
def test_schemas_are_schemas(schema: schemas.Schema) -> None:
    """Each is valid JSON Schema of draft 2020-12."""
    Draft202012Validator.check_schema(schema)


def test_every_kind_has_one() -> None:
    """Those that the ledger knows, those with a schema and those in the document are the same."""
    section = FORMATS.read_text().split("## Ledger")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))
    assert set(schemas.LINES) == KINDS == documented


def test_documented_fields_are_the_schema_s() -> None:
    """Each field that the document names for a kind is in its schema (times are named once for both forms)."""
    section = FORMATS.read_text().split("## Ledger")[1].split("\n## ")[0]
    for kind, cell in re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", section, re.MULTILINE):
        if kind == "repaired":
            continue
        fields = set(schemas.BODIES[kind]["properties"]) - {"drill"}  # also a reason of `purged`
        named = set(re.findall(r"`([a-z_0-9]+)`", cell))
        assert named - fields <= VALUES, kind
        assert fields - named <= {f"{name}_ns" for name in named}, kind


@given(EVIDENCE)
def test_records_keep_to_it(evidence: Evidence) -> None:
    """Any record is as the schema says but for names, which have narrower rules of their own at the door."""
    written = json.loads(record.canonical(record.to_json(evidence)))
    named = written | {"camera": "hall", "run": written["id"], "uncertainty_s": 0, "relative_uncertainty_s": 0}
    if written["model"] is not None:
        named["model"] = written["model"] | {"sha256": "ab" * 32}
    Draft202012Validator(schemas.RECORD).validate(named)


def check_ledger(lines: list[dict[str, object]]) -> None:
    """Raises ValidationError for the first line that is not as documented."""
    validators = {kind: Draft202012Validator(schema) for kind, schema in schemas.LINES.items()}
    for line in lines:
        validators[str(line["kind"])].validate(line)


def test_a_recorder_s_ledger_keeps_to_it(tmp_path: Path) -> None:
    """All that a recorder writes in its life: every line, every row's record, and the heartbeat."""
    host = Host(tmp_path)
    try:
        host.start()
        host.beat(lambda beat: beat.disk == "ok", "an open store")
        worker = Worker(host)
        worker.began()
        incident = worker.incident("suspect")
        worker.take(kind="first_suspect", incident=incident.id)
        worker.film(ClipWriter(clip_of(5, run=worker.run), time.time_ns(), (incident.id,)), 12, "ended")
        worker.incident("ended", id=incident.id, ended_at_ns=time.time_ns())
        analysis = analysis_of(incident.id, time.time_ns())
        worker._keep(analysis.id, Analysed(analysis=analysis))
        worker.settle()
        with worker.watching():
            wait_for(lambda: worker.frames > 10, "frames")
        host.ask("assess", incident=incident.id, says="unclear", note="dark")
        host.ask("head")
        host.beat(lambda beat: "yard" in beat.open_gaps, "a gap")
        host.stop()
        check_ledger(host.lines())
        assert {line["kind"] for line in host.lines()} >= KINDS - {"purged", "missing", "repaired"}
        for (text,) in host.rows("SELECT record FROM evidence WHERE kind != 'clip'"):
            Draft202012Validator(schemas.RECORD).validate(json.loads(text))
        Draft202012Validator(schemas.HEARTBEAT).validate(json.loads((host.root / "heartbeat").read_text()))
    finally:
        host.close()
