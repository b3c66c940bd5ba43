# SPDX-License-Identifier: AGPL-3.0-or-later
"""The record: whatever a worker found comes back from JSON as it was."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.domain import Detection, Evidence, FrameTime, Looks, ModelInfo, Verdict, VerifierInfo
from daemon.storage import record, schemas

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
ODD = ["]]></x>", "<!ENTITY", "&amp;", "\x00\x1f\x7f", "\ufffe\uffff", "a\r\nb", "\u2028", '"\\u0041']
NASTY = st.one_of(TEXT, st.sampled_from(ODD))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
DETECTIONS = st.builds(
    Detection,
    label=NASTY,
    confidence=st.floats(0, 1),
    box=st.tuples(FLOATS, FLOATS, FLOATS, FLOATS),
    zone=st.none() | NASTY,
    verdict=st.none() | st.builds(Verdict, confidence=st.floats(0, 1), passed=st.booleans()),
    looks=st.none() | st.builds(Looks, whole=st.floats(0, 1), close=st.floats(0, 1)),
)
TIMES = st.builds(
    FrameTime,
    captured_at_ns=st.integers(0, 2**63 - 1),
    uncertainty_s=FLOATS,
    relative_uncertainty_s=FLOATS,
    clock_synchronised=st.booleans(),
    settling=st.booleans(),
    camera_clock_ns=st.none() | INTEGERS,
)
MODELS = st.builds(
    ModelInfo,
    sha256=NASTY,
    name=NASTY,
    runtime=NASTY,
    input_px=st.integers(1, 4096),
    labels=st.lists(NASTY, max_size=3).map(tuple),
    verifier=st.none()
    | st.builds(
        VerifierInfo, sha256=st.just("ab" * 32), name=NASTY, input_px=st.integers(1, 4096), threshold=st.floats(0, 1)
    ),
)
EVIDENCE = st.builds(
    Evidence,
    id=st.uuids().map(str),
    camera=NASTY,
    kind=NASTY,
    run=NASTY,
    pts=INTEGERS,
    time_base=st.tuples(st.integers(1, 2**31), st.integers(1, 2**31)),
    time=TIMES,
    width_px=st.just(320),
    height_px=st.just(180),
    detections=st.lists(DETECTIONS, max_size=5).map(tuple),
    incident=st.none() | st.uuids().map(str),
    model=st.none() | MODELS,
    thresholds=st.dictionaries(NASTY, st.floats(0, 1), max_size=3),
    damage=st.sampled_from(["no", "yes", "not_known"]),
    colour=st.tuples(NASTY, NASTY),
    version=st.text(string.printable, max_size=10),
    detections_omitted=st.integers(0, 10**6),
    drill=st.booleans(),
    reduced_from_px=st.none() | st.just((1920, 1080)),
)


@given(EVIDENCE)
def test_record_survives_json(evidence: Evidence) -> None:
    """To canonical JSON and back, nothing of the record changes, however odd its texts and large its numbers."""
    text = record.canonical(record.to_json(evidence))
    back = record.from_json(json.loads(text))
    assert back == evidence
    assert record.canonical(record.to_json(back)) == text


def test_a_verifier_is_on_record_only_where_there_is_one(make_evidence) -> None:
    """Without it a record is as it always was; with it each detection says what became of it, and the model who judged."""
    alone = make_evidence()
    without = record.to_json(alone)
    assert "verifier" not in without["model"]
    assert all("verdict" not in each for each in without["detections"])
    info = VerifierInfo("b" * 64, "verifier", 64, 0.5)
    found = [replace(each, verdict=Verdict(0.25, passed=False)) for each in alone.detections]
    evidence = replace(alone, detections=tuple(found), model=replace(alone.model, verifier=info))
    written = record.to_json(evidence)
    jsonschema.validate(written, schemas.RECORD)
    assert written["model"]["verifier"] == {"sha256": "b" * 64, "name": "verifier", "input_px": 64, "threshold": 0.5}
    assert [each["verdict"] for each in written["detections"]] == [{"confidence": 0.25, "passed": False}] * len(found)


def test_both_looks_are_on_record_only_where_there_were_two(make_evidence) -> None:
    """One look: a record as it always was; of weak detections that were not looked at once more, too."""
    alone = make_evidence()
    assert all("looks" not in each for each in record.to_json(alone)["detections"])
    first, *others = alone.detections
    evidence = replace(alone, detections=(replace(first, looks=Looks(0.5, 0.32)), *others))
    written = record.to_json(evidence)
    jsonschema.validate(written, schemas.RECORD)
    assert written["detections"][0]["looks"] == {"whole": 0.5, "close": 0.32}
    assert all("looks" not in each for each in written["detections"][1:])


def test_large_integers_are_text(make_evidence) -> None:
    """PTS and nanoseconds are decimal strings, since other JSON readers lose digits beyond 2^53."""
    written = record.to_json(make_evidence(pts=2**62, camera_clock_ns=2**60 + 1))
    assert written["pts"] == str(2**62)
    assert written["camera_clock_ns"] == str(2**60 + 1)
    assert written["captured_at_ns"] == "1795449909123456789"
    assert written["captured_at"] == "2026-11-23T16:05:09.123Z"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pts", 7),
        ("pts", "seven"),
        ("pts", "१२"),
        ("pts", "7\n"),
        ("pts", str(2**63)),
        ("captured_at_ns", "-1"),
        ("captured_at_ns", None),
        ("id", None),
        ("detections", [{"label": "fire"}]),
        ("detections_omitted", -1),
        ("model", {}),
        ("time_base", [1]),
    ],
)
def test_what_is_no_record_is_refused(make_evidence, field: str, value: object) -> None:
    """A record that this Firewitness cannot have written is a ValueError, never a half-right piece of evidence."""
    with pytest.raises(ValueError):
        record.from_json(record.to_json(make_evidence()) | {field: value})


@pytest.mark.parametrize("what", [None, [], "text", {}])
def test_no_object_is_refused(what: object) -> None:
    """Neither an empty object nor anything else is a record."""
    with pytest.raises(ValueError):
        record.from_json(what)


def test_later_fields_are_passed_over(make_evidence) -> None:
    """A record that a later version wrote with more fields can still be read."""
    evidence = make_evidence()
    assert record.from_json(record.to_json(evidence) | {"plume": 3}) == evidence


def test_workers_can_afford_it() -> None:
    """Workers import it for every camera: no settings model, no index, no web comes along."""
    heavy = ["pydantic", "sqlalchemy", "flask", "torch", "openvino", "onnxruntime", "av", "yaml"]
    code = f"import sys, daemon.storage.still; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
