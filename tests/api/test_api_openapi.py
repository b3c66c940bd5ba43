# SPDX-License-Identifier: AGPL-3.0-or-later
"""/api/openapi.json is valid, names every route, and true answers are as it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from daemon.api.app import create_app
from daemon.api.live import LiveStatus
from daemon.api.openapi import OPERATIONS
from daemon.clock import NS, HostClocks
from daemon.control import Control
from daemon.detect.work import WorkClient
from daemon.settings import Settings
from daemon.storage.clips import Ended
from daemon.storage.queries import Index
from tests.api.conftest import png
from tests.api.shelf import Shelf
from tests.api.web_under_test import Site, Web
from tests.storage.store_kit import ClipWriter, clip_of


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A site with an incident of one still with its clip, and a gap."""
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}})
    shelf = Shelf(site.settings)
    incident = shelf.incident(time.time_ns() - 60 * NS)
    still = shelf.still(time.time_ns() - 60 * NS, incident=incident.id, pts=0)
    writer = ClipWriter(clip_of(5, run=still.run), time.time_ns() - 60 * NS, (incident.id,))
    shelf.store.commit([], [writer.next(), Ended(writer.clip.id, "ended")])
    shelf.gap(time.time_ns() - 100 * NS, time.time_ns() - 90 * NS)
    yield site.start()
    shelf.close()
    site.close()


@pytest.fixture(scope="module")
def document(web: Web) -> dict[str, Any]:
    return dict(web.get("/api/openapi.json").json())


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    """By the specification's own schema; and each schema in it is one of JSON Schema 2020-12."""
    OPENAPI_31_VALIDATOR.validate(document)
    with pytest.raises(Exception, match="paths"):
        OPENAPI_31_VALIDATOR.validate({**document, "paths": 7})
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_route_is_in_it(tmp_path: Path, document: dict[str, Any]) -> None:
    """With each of its methods; and the table names no route that is not there."""
    app = create_app(
        Settings(), index=Index(tmp_path, HostClocks()), live=LiveStatus(Control(tmp_path)), control=Control(tmp_path),
        detector=WorkClient(tmp_path), clocks=HostClocks(), host="127.0.0.1", port=2222,
    )  # fmt: skip
    assert {rule.rule for rule in app.url_map.iter_rules()} == set(OPERATIONS)
    assert len(document["paths"]) == len(OPERATIONS)
    assert set(document["paths"]["/api/v1/captures"]) == {"post"}


def test_true_answers_are_as_it_says(web: Web, document: dict[str, Any]) -> None:
    """Each list and each item, envelopes and problems."""
    items = {name: web.get(f"/api/v1/{name}").json()["items"] for name in ("evidence", "incidents", "gaps")}
    assert all(items.values())
    assert items["evidence"][0]["clip"]
    ids = {"evidence_id": items["evidence"][0]["id"], "incident_id": items["incidents"][0]["id"]}
    checked = 0
    for path, operations in document["paths"].items():
        if "get" in operations and not path.endswith(("/origin", "/growth", "/arrival.png", "/clip", ".jpg", "/video")):
            content = operations["get"]["responses"]["200"]["content"]
            answer = web.get(
                path.format(**ids, filename="page.css"), params={"camera": "hall"} if path == "/minutes" else None
            )
            assert answer.status_code == 200, (path, answer.text)
            if "application/json" in content:
                check(document, content["application/json"]["schema"], answer.json())
                checked += 1
    assert checked >= 9
    for name, model in (("evidence", "Evidence"), ("incidents", "Incident"), ("gaps", "Gap"), ("cameras", "CameraNow")):
        told = web.get(f"/api/v1/{name}").json()["items"][0]
        assert set(told) == set(document["components"]["schemas"][model]["properties"]), name
    envelope = {"$ref": "#/components/schemas/Envelope"}
    check(document, envelope, web.post(files=None, json={"image": "?"}).json())
    check(document, envelope, web.post(data=png(77), headers={"Content-Type": "image/png"}).json())
    check(document, {"$ref": "#/components/schemas/Problem"}, web.get("/api/v1/evidence?camera=none").json())


def check(document: dict[str, Any], schema: dict[str, Any], answer: Any) -> None:
    jsonschema.validate(answer, {**schema, "components": document["components"]}, jsonschema.Draft202012Validator)


def test_parameters_are_those_that_are_checked(web: Web, document: dict[str, Any]) -> None:
    """Each is taken, as the empty text at least recognised; one that it does not name is refused as unknown."""
    for path in ("/api/v1/evidence", "/api/v1/incidents", "/api/v1/gaps", "/api/v1/coverage"):
        for parameter in document["paths"][path]["get"]["parameters"]:
            answer = web.get(path, params={parameter["name"]: "?"})
            assert answer.status_code == 400
            assert "no such parameter" not in answer.json()["detail"]
        assert "no such parameter" in web.get(path, params={"other": "?"}).json()["detail"]
