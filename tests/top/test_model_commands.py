# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness model` and `bench` without a daemon: what is refused, and in which words."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon import models, shipped
from daemon.cli import main
from daemon.commands.stills import MOST, reference_stills
from daemon.config_file import load
from daemon.detect.weights import read_weights
from daemon.storage import queries
from daemon.storage.durable import RealDisk


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file with folders of its own."""
    path = tmp_path / "config.yaml"
    path.write_text("storage: {root: store, state_dir: state, runtime_dir: run}\n")
    return path


def test_the_settings_file_may_be_named_behind_what_to_do(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in every other command; before it, it counts too."""
    said = set()
    for order in (["model", "list", "--config", str(config)], ["model", "--config", str(config), "list"]):
        assert main(order) == 0
        said.add(capsys.readouterr().out)
    assert len(said) == 1
    assert main(["model", "list", "--config", str(config) + ".none"]) == 2


def test_what_was_added_is_in_use_after_a_restart(config: Path) -> None:
    """The settings then name it, with its hash; configured brings the file's own back."""
    settings = load(config)
    content = shipped.WEIGHTS.read_bytes()
    facts = {"file": "site.onnx", "sha256": shipped.SHA256, "added_at": "2026-11-25T00:00:00Z"}
    kept = models.keep(settings.storage, "site", {".onnx": content, ".md": b"# site\n"}, facts)
    assert models.applied(settings) == settings
    models.use(settings.storage, "site")
    detect = models.applied(settings).detect
    assert (detect.weights, detect.weights_sha256) == (kept.weights, shipped.SHA256)
    assert read_weights(detect.weights, detect.weights_sha256).card_sha256 is not None
    models.use(settings.storage, models.CONFIGURED)
    assert models.applied(settings) == settings


def test_a_choice_taken_back_is_durable(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal is synced after it is made: else a power failure brings the model of before back."""
    storage = load(config).storage
    facts = {"file": "site.onnx", "sha256": "0" * 64, "added_at": ""}
    models.keep(storage, "site", {".onnx": b"1"}, facts)
    models.use(storage, "site")
    place = models.folder(storage) / "in_use.json"
    there_when_synced: list[tuple[Path, bool]] = []

    class Watched(RealDisk):
        def sync_folder(self, path: Path) -> None:
            there_when_synced.append((path, place.exists()))
            super().sync_folder(path)

    monkeypatch.setattr(models, "RealDisk", Watched)
    models.use(storage, models.CONFIGURED)
    assert there_when_synced == [(place.parent, False)]


@pytest.mark.parametrize("content", ["{}", "[]", '"x"', '{"name": "site"}', "x"])
def test_a_choice_that_is_none_is_a_sentence(config: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody edited in_use.json: named, with what to do."""
    place = models.folder(load(config).storage) / "in_use.json"
    place.parent.mkdir(parents=True)
    place.write_text(content)
    assert main(["check-config", "--config", str(config)]) == 2
    assert capsys.readouterr().err == (
        f"firewitness check-config: {place} cannot be read: choose again, or remove it\n"
    )


def test_the_list_says_whose_the_configured_weights_are(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped ones are known by their hash; others are sure where the settings name one."""
    (tmp_path / "own.onnx").write_bytes(b"1")
    own = hashlib.sha256(b"1").hexdigest()
    said = []
    for detect in (
        "{}",
        "{weights: own.onnx}",
        f"{{weights: own.onnx, weights_sha256: '{own}'}}",
        "{weights: no.onnx}",
    ):
        config.write_text(f"storage: {{root: store, state_dir: state, runtime_dir: run}}\ndetect: {detect}\n")
        assert main(["model", "list", "--config", str(config)]) == 0
        said.append(capsys.readouterr().out.splitlines()[0].split(maxsplit=2)[2])
    assert said == [
        f"SHA-256 {shipped.SHA256[:12]}",
        f"SHA-256 {own[:12]}, not pinned",
        f"SHA-256 {own[:12]}",
        "cannot be used: see `firewitness check-config`",
    ]


@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "-1"])
def test_a_bench_has_an_end(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What would never end, or measures nothing, is refused."""
    assert main(["bench", f"--seconds={seconds}"]) == 2
    assert capsys.readouterr().err == "firewitness bench: --seconds: more than 0, at most 300\n"


def test_a_film_is_not_read_to_its_end(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`detect` of something that never ends, or would fill the memory: no picture, said at once."""
    assert main(["detect", "--config", str(config), "/dev/zero"]) == 2
    assert capsys.readouterr().err.startswith("/dev/zero: ")


def test_every_command_means_the_model_in_use(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """check-config, doctor and detect; where it is gone, they say so as the daemon would."""
    storage = load(config).storage
    facts = {"file": "site.onnx", "sha256": shipped.SHA256, "added_at": "2026-11-25T00:00:00Z"}
    kept = models.keep(storage, "site", {".onnx": shipped.WEIGHTS.read_bytes(), ".md": b"# site\n"}, facts)
    models.use(storage, "site")
    picture = shipped.MODELS / "reference.jpg"
    assert main(["check-config", "--config", str(config)]) == 0
    assert "The model in use is site" in capsys.readouterr().out
    main(["doctor", "--config", str(config)])
    assert f"weights: {kept.weights.name}, SHA-256 {shipped.SHA256}" in capsys.readouterr().out
    assert main(["detect", "--config", str(config), "--json", str(picture)]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["model"] == f"site@{shipped.SHA256[:12]}"

    kept.weights.unlink()
    assert main(["check-config", "--config", str(config)]) == 2
    assert f"the model in use, site: {kept.weights}: the weights cannot be read" in capsys.readouterr().err
    main(["doctor", "--config", str(config)])
    assert f"weights: {kept.weights}: the weights cannot be read" in capsys.readouterr().out
    assert main(["detect", "--config", str(config), str(picture)]) == 2
    assert "the weights cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["weights", "choice"])
def test_a_model_is_added_where_the_one_in_use_cannot_be_loaded(
    broken: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is when it is needed: it is compared with nothing, and why is said."""
    storage = load(config).storage
    kept = models.keep(storage, "old", {".onnx": b"1"}, {"file": "old.onnx", "sha256": "0" * 64, "added_at": ""})
    models.use(storage, "old")
    gone = kept.weights if broken == "weights" else models.folder(storage) / "in_use.json"
    gone.unlink() if broken == "weights" else gone.write_text("{")
    shutil.copyfile(shipped.WEIGHTS, tmp_path / "next.onnx")
    assert main(["model", "--config", str(config), "add", str(tmp_path / "next.onnx")]) == 0
    said = capsys.readouterr().out
    assert f"since the one in use cannot be loaded: {gone}" in said
    assert "next is kept as" in said


def test_a_kept_model_is_never_replaced(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records name it by name and hash: another one needs another name."""
    storage = load(config).storage
    models.keep(storage, "firewitness-11n", {".onnx": b"1"}, {"file": "x", "sha256": "0" * 64, "added_at": ""})
    assert main(["model", "--config", str(config), "add", str(shipped.WEIGHTS), "--name", "firewitness-11n"]) == 2
    assert "choose another name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["add", "site.pt"], "firewitness model export --to onnx site.pt"),
        (["add", "site.onnx", "--name", "../up"], "is no name for a model"),
        (["add", "site.onnx", "--name", "configured"], "is no name for a model"),
        (["add", "site.onnx", "--name", "in_use.json"], "is no name for a model"),
        (["add", "missing.onnx"], "the weights cannot be read"),
        (["use", "site"], "no daemon is running here"),
        (["export", "--to", "onnx", "site.onnx"], "onnx is made of a .pt"),
        (["export", "--to", "openvino", "site.onnx", "--out", "x.onnx"], "ends in .xml"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    config: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and nothing is kept."""
    assert main(["model", "--config", str(config), *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert models.kept(load(config).storage) == []


def test_a_network_of_another_kind_is_one_sentence(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`model add` and `bench` say what it takes, and what it must."""
    onnx = pytest.importorskip("onnx")
    shaped = onnx.helper.make_tensor_value_info
    rows = [shaped(name, onnx.TensorProto.FLOAT, ["n", 10]) for name in ("rows", "more", "sum")]
    node = onnx.helper.make_node("Add", ["rows", "more"], ["sum"])
    graph = onnx.helper.make_graph([node], "sum", rows[:2], rows[2:])
    path = tmp_path / "sum.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), str(path))
    assert main(["model", "--config", str(config), "add", str(path)]) == 2
    says = f"{path}: a network that takes (any, 10) and (any, 10); it must take (pictures, 3, height, width)"
    assert capsys.readouterr().err.splitlines() == [f"firewitness model: {says}"]
    assert main(["bench", "--config", str(config), "--weights", str(path), "--seconds", "0.1"]) == 2
    assert says in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_a_pt_needs_ultralytics(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is missing, one sentence says what to install."""
    (tmp_path / "site.pt").write_bytes(b"pickle")
    assert main(["model", "--config", str(config), "export", "--to", "onnx", str(tmp_path / "site.pt")]) == 2
    assert "torch and Ultralytics, which are not installed" in capsys.readouterr().err


def test_bench_shows_every_runtime(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are installed, the best first, each with cameras at the configured interval."""
    assert main(["bench", "--config", str(config), "--seconds", "0.2"]) == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert "cameras" in head
    assert rows[0].startswith("OpenVINO")
    assert any(row.startswith("ONNX Runtime") for row in rows)
    assert all(int(row.split()[-2]) > 0 for row in rows)
    assert "every 2 s (detect.max_interval)" in last


@pytest.mark.parametrize("count", [0, 3, 200, 399, 1999])
def test_reference_stills_are_chosen_from_first_to_last(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The newest alone would be one night's, and weights that fail by day be let in."""
    picture = tmp_path / "still.png"
    cv2.imwrite(str(picture), np.zeros((4, 4, 3), np.uint8))

    class Shelf:
        def __init__(self, *_: object) -> None: ...

        def evidence_page(self, limit: int, cursor: str | None, **_: object) -> dict[str, object]:
            begin = int(cursor or 0)
            items = [{"id": str(place), "camera": str(place)} for place in range(begin, min(count, begin + limit))]
            return {"items": items, "next": str(begin + limit) if begin + limit < count else None}

        def evidence_file(self, _: str) -> Path:
            return picture

    monkeypatch.setattr(queries, "Index", Shelf)
    chosen = [int(camera) for camera, _ in reference_stills(load(config))]
    assert len(chosen) == min(count, MOST)
    steps = [later - one for one, later in pairwise([*chosen, count])]
    assert all(step in (count // MOST, -(-count // MOST)) for step in steps) or count < MOST
