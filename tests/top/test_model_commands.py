# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness model` and `bench` without a daemon: what is refused, and in which words."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from daemon import card, models, shipped
from daemon.cli import main
from daemon.clock import NS, rfc3339
from daemon.commands import analyse, model_add
from daemon.commands import detect as detect_command
from daemon.commands.stills import MOST, Stills, reference_stills
from daemon.config_file import load
from daemon.control import Control
from daemon.detect import checking, detector, served
from daemon.detect.closer import CloserLook
from daemon.detect.detector import reference_picture
from daemon.detect.weights import read_weights
from daemon.errors import FirewitnessError
from daemon.settings import DetectSettings, Thresholds
from daemon.storage.durable import RealDisk
from tests.storage.store_kit import BEGIN_NS, FakeClocks, evidence_of, opened, still_entries


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


@pytest.mark.parametrize("closer_look", [True, False])
def test_every_command_looks_as_often_as_the_daemon_does(
    closer_look: bool, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detect and analyse without a daemon, and what a model that is added is checked with: the thresholds are for so many looks."""
    config.write_text(
        config.read_text() + f"detect: {{closer_look: {str(closer_look).lower()}, device: cpu, input_px: 320}}\n"
    )
    settings = load(config)
    picture = reference_picture()
    for own in (detect_command.own_detector(settings), analyse.own_detector(settings, shipped.WEIGHTS)):
        found, _ = own(picture)
        assert found
        assert all((each.looks is not None) == closer_look for each in found)
    made = []

    class Spied(CloserLook):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            made.append(self)

    monkeypatch.setattr(detector, "CloserLook", Spied)
    checked = checking.check(shipped.WEIGHTS, None, settings.detect, [picture])
    assert checked.alarmed == 1
    assert bool(made) == closer_look


def test_a_sites_stills_are_looked_at_as_live_frames_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaled to the input, never enlarged: what is counted is what would have been taken for a fire on watch."""
    shown: list[tuple[int, ...]] = []
    looks = detector.FireDetector.detect

    def spied(self: Any, images: Any, *rest: Any) -> Any:
        shown.extend(each.shape for each in images)
        return looks(self, images, *rest)

    monkeypatch.setattr(detector.FireDetector, "detect", spied)
    picture = reference_picture()
    large, small = cv2.resize(picture, (2560, 1440)), cv2.resize(picture, (160, 90))
    detect = DetectSettings(device="cpu", batch=1, input_px=320)
    assert checking.check(shipped.WEIGHTS, None, detect, [large, small]).stills == 2
    assert shown[-2:] == [(180, 320, 3), (90, 160, 3)]


@pytest.mark.parametrize(
    ("detect", "said"),
    [
        ("{}", []),
        ("{closer_look: false}", ["fire", "smoke"]),
        ("{closer_look: false, thresholds: {fire: 0.42}}", ["smoke"]),
        ("{closer_look: false, thresholds: {fire: 0.42, smoke: 0.68}}", []),
    ],
)
def test_thresholds_for_two_looks_with_one_are_told(
    detect: str, said: list[str], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless somebody chose others: the daemon would take more for fire, or less, than the tables say."""
    config.write_text(config.read_text() + f"detect: {detect}\n")
    assert main(["check-config", "--config", str(config)]) == 0
    assert re.findall(r"is off, but detect\.thresholds\.(\w+)", capsys.readouterr().out) == said


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


def test_an_added_model_is_removed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not the one in use, nor the settings' own; afterwards its name is free, also where its facts are damaged."""
    storage = load(config).storage
    facts = {"file": "site.onnx", "sha256": "0" * 64, "added_at": ""}
    kept = models.keep(storage, "site", {".onnx": b"1"}, facts)
    models.use(storage, "site")
    for name, says in (
        ("site", "site is in use: go over to another one first, such as `firewitness model use configured`"),
        ("configured", "configured is what detect.weights names, and was not added: it cannot be removed"),
        (
            "../models/site",
            "there is no model '../models/site'; there are configured, site. `firewitness model add` adds one",
        ),
    ):
        assert main(["model", "--config", str(config), "remove", name]) == 2
        assert capsys.readouterr().err == f"firewitness model: {says}\n"
    assert kept.weights.exists()
    models.use(storage, "configured")
    (kept.weights.parent / "model.json").write_text("{")
    assert main(["model", "--config", str(config), "remove", "site"]) == 0
    assert list(models.folder(storage).iterdir()) == []
    models.keep(storage, "site", {".onnx": b"2"}, facts)


@pytest.mark.parametrize("damaged", [{"added_at": None}, {"sha256": 5}, {"file": ["site.onnx"]}, None])
def test_a_damaged_model_hides_no_other(
    config: Path, damaged: dict[str, Any] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is listed as what cannot be used, with what to do; using it is refused in the same words."""
    storage = load(config).storage
    facts: dict[str, Any] = {"file": "site.onnx", "sha256": "0" * 64, "added_at": "2026-11-27T00:00:00Z"}
    site = models.keep(storage, "site", {".onnx": b"1"}, facts)
    models.keep(storage, "yard", {".onnx": b"2"}, facts | {"file": "yard.onnx"})
    place = site.weights.parent / "model.json"
    place.write_text("[]" if damaged is None else json.dumps(facts | damaged))
    says = f"{place} cannot be read: `firewitness model remove site`, and add the model again"
    assert main(["model", "--config", str(config), "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  {'site':20} cannot be used: {says}" in lines
    assert f"  {'yard':20} SHA-256 {'0' * 12}, added 2026-11-27T00:00:00Z" in lines
    with pytest.raises(FirewitnessError, match=re.escape(says)):
        models.use(storage, "site")
    assert main(["model", "--config", str(config), "remove", "site"]) == 0
    assert models.names(storage) == ["yard"]


def test_a_model_in_use_that_is_gone_is_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As what is in use, since no other looks in its place."""
    storage = load(config).storage
    site = models.keep(storage, "site", {".onnx": b"1"}, {"file": "site.onnx", "sha256": "0" * 64, "added_at": ""})
    models.use(storage, "site")
    shutil.rmtree(site.weights.parent)
    assert main(["model", "--config", str(config), "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("* ")).startswith(f"* {'site':20} is gone, ")


def test_a_model_that_came_or_went_when_the_host_stopped_is_none(config: Path) -> None:
    """What is left of it is not listed, and in nobody's way."""
    storage = load(config).storage
    facts = {"file": "site.onnx", "sha256": "0" * 64, "added_at": ""}
    kept = models.keep(storage, "site", {".onnx": b"1"}, facts)
    kept.weights.parent.rename(models.folder(storage) / ".site.part")
    assert models.names(storage) == []
    models.keep(storage, "site", {".onnx": b"1"}, facts)
    (models.folder(storage) / ".site.part").mkdir()
    (models.folder(storage) / ".site.part" / "model.json").write_text("{}")
    models.remove(storage, "site")
    assert list(models.folder(storage).iterdir()) == []


def line_of(fire: str, smoke: str) -> str:
    """As training/card.py writes it."""
    return f"**Thresholds** chosen on validation pictures: fire {fire}, smoke {smoke}."


def test_the_shipped_card_says_the_shipped_thresholds() -> None:
    """The line is read as `python -m training` writes it."""
    assert card.thresholds_of(shipped.CARD) == Thresholds(fire=shipped.FIRE, smoke=shipped.SMOKE)


@pytest.mark.parametrize(
    "said",
    [
        "",
        line_of("1.5", "0.4"),
        line_of("x", "0.4"),
        line_of("0.3", "0.4") + " Not",
        "**Thresholds** chosen on validation pictures: none is admissible.",
    ],
)
def test_a_card_without_thresholds_says_none(said: str) -> None:
    """What is no such line, or no threshold, is nothing."""
    assert card.thresholds_in(f"# site\n\n{said}\n") is None


def test_what_to_write_names_the_floor_where_it_is_in_the_way() -> None:
    """A threshold below detect.floor is refused by the settings."""
    detect = DetectSettings()
    assert card.to_write(detect.thresholds, detect) is None
    said = card.to_write(Thresholds(fire=0.05, smoke=0.5), detect)
    assert said is not None
    assert "write detect.thresholds: {fire: 0.05, smoke: 0.5} and detect.floor: 0.05; they hold after a restart" in said
    assert card.at(detect, Thresholds(fire=0.05, smoke=0.5)).floor == 0.05


def test_a_models_own_thresholds_are_kept_and_said(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """False alarms are counted at them; what to write is said by `add`, and by `use` again; the settings stay as they are."""
    shutil.copyfile(shipped.WEIGHTS, tmp_path / "site.onnx")
    (tmp_path / "site.md").write_text(f"# site\n\n{line_of('0.9', '0.8')}\n")
    still = cv2.imread(str(shipped.MODELS / "reference.jpg"))  # fire is seen in it, below 0.9
    monkeypatch.setattr(model_add, "reference_stills", lambda _: Stills((still,), 1, 1, 0, 0))
    write = "write detect.thresholds: {fire: 0.9, smoke: 0.8}; they hold after a restart"
    assert main(["model", "--config", str(config), "add", str(tmp_path / "site.onnx")]) == 0
    said = capsys.readouterr().out
    assert (
        "0 of 1 reference stills of this site give a detection at fire 0.9, smoke 0.8; by the one in use 1, at fire"
        in said
    )
    assert write in said
    assert re.search(
        r"drawn fire +seen at 0\.\d\d: too weak to count at the model's own threshold of fire, 0\.9\n", said
    )
    assert models.find(load(config).storage, "site").thresholds == Thresholds(fire=0.9, smoke=0.8)

    monkeypatch.setattr(Control, "ask", lambda *_, **__: {"name": "site", "weights": "site.onnx"})
    assert main(["model", "--config", str(config), "use", "site"]) == 0
    assert write in capsys.readouterr().out
    assert main(["model", "--config", str(config), "use", "configured"]) == 0
    assert "thresholds" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("own", "in_force", "says"),
    [
        (0.39, 0.39, "seen at 0.50"),
        (0.39, 0.6, "seen at 0.50: too weak to count, from 0.6 on (detect.thresholds, fire)"),
        (0.6, 0.39, "seen at 0.50: too weak to count at the model's own threshold of fire, 0.6"),
    ],
)
def test_a_drawn_fire_that_is_too_weak_is_no_good_sign(own: float, in_force: float, says: str) -> None:
    """What holds now is named first; what the card chose would have to be written first."""
    assert model_add._drawn(0.5, own, in_force) == says


def test_a_kept_model_is_never_replaced(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records name it by name and hash: another one needs another name."""
    storage = load(config).storage
    models.keep(storage, "firewitness-11n", {".onnx": b"1"}, {"file": "x", "sha256": "0" * 64, "added_at": ""})
    assert main(["model", "--config", str(config), "add", str(shipped.WEIGHTS), "--name", "firewitness-11n"]) == 2
    assert "give another with --name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["add", "site.pt"], "firewitness model export --to onnx site.pt"),
        (["add", "site.pt"], "if `python -m training train` wrote it, `python -m training export site.pt`"),
        (
            ["export", "--to", "openvino", "gone/site.onnx"],
            "gone/site.onnx: the weights cannot be read (No such file or directory)",
        ),
        (["add", "site.onnx", "--name", "../up"], "is no name for a model"),
        (["add", "site.onnx", "--name", "configured"], "is no name for a model"),
        (["add", "site.onnx", "--name", "in_use.json"], "is no name for a model"),
        (
            ["add", "our yard.onnx"],
            "'our yard' is no name for a model: letters, digits, . - and _, and neither configured nor in_use.json; give one with --name\n",
        ),
        (["add", "missing.onnx"], "missing.onnx: the weights cannot be read (No such file or directory)\n"),
        (["use", "site"], "no daemon is running here"),
        (["export", "--to", "onnx", "site.onnx"], "onnx is made of a .pt"),
        (["export", "--to", "openvino", "site.onnx", "--out", "x.onnx"], "ends in .xml"),
        *(
            (
                ["export", "--to", to, file, "--out", f"no/y{suffix}"],
                "there is no folder no; make it, or name another file with --out\n",
            )
            for to, file, suffix in (
                ("onnx", "site.pt", ".onnx"),
                ("openvino", "site.onnx", ".xml"),
                ("engine", "site.onnx", ".engine"),
            )
        ),
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
    assert models.names(load(config).storage) == []


@pytest.mark.parametrize("there", ["x.xml", "x.bin"])
def test_a_folder_where_an_export_goes_is_one_sentence(
    config: Path, tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is computed."""
    (tmp_path / there).mkdir()
    words = ["export", "--to", "openvino", str(shipped.WEIGHTS), "--out", str(tmp_path / "x.xml")]
    assert main(["model", "--config", str(config), *words]) == 2
    says = f"{tmp_path / there}: a folder is there; name another file with --out"
    assert capsys.readouterr().err == f"firewitness model: {says}\n"


def test_an_xml_without_its_bin_is_one_sentence(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is missing, and nothing of a key that has to do with another model."""
    (tmp_path / "site.xml").write_text("<net/>")
    assert main(["model", "--config", str(config), "add", str(tmp_path / "site.xml")]) == 2
    says = "the weights cannot be read (No such file or directory); an .xml has its weights in a .bin beside it"
    assert capsys.readouterr().err == f"firewitness model: {tmp_path / 'site.bin'}: {says}\n"


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
    assert "every 2 s (detect.max_interval) and, 1080p, searched in 6 tiles every 30 s (detect.patrol)" in last


@pytest.mark.parametrize(
    ("detect", "possible", "says_patrol"),
    [
        (DetectSettings(max_interval=2, patrol=30), 71, True),  # 1 / (0.02 / 2 + 6 × 0.02 / 30)
        (DetectSettings(max_interval=2, patrol=0), 100, False),
        (DetectSettings(max_interval=2, patrol=30, input_px=1920), 100, False),  # one tile would be the whole again
    ],
)
def test_possible_cameras_are_counted_with_the_patrol(detect: DetectSettings, possible: int, says_patrol: bool) -> None:
    """What each camera costs is its looks and its tiles; without a patrol, the looks alone."""
    assert served.cameras(0.02, 0.02, detect) == possible
    assert ("detect.patrol" in served.in_words(detect)) is says_patrol
    assert (served.tile_picture(detect) is not None) is says_patrol


def test_reference_stills_are_of_the_whole_time(config: Path) -> None:
    """From all cameras; said from when to when, and of how many. Where the store is none there are none."""
    settings = load(config)
    assert reference_stills(settings) is None
    settings.storage.root.mkdir()
    with opened(settings.storage, FakeClocks()) as store:
        assert reference_stills(settings) is None
        for camera, first, count in (("hall", 0, 300), ("yard", 1000, 100)):
            several = [
                evidence_of(first + n, BEGIN_NS + n * 60 * NS, camera=camera, kind="reference") for n in range(count)
            ]
            store.commit(still_entries(store, *several))
        found = reference_stills(settings)
    assert found is not None
    assert [picture.shape for picture in found.pictures] == [(24, 32, 3)] * MOST
    begin, end = rfc3339(found.first_ns), rfc3339(found.last_ns)
    assert str(found) == f"evenly chosen from 400, of 2 cameras, {begin} to {end}"
    assert found.first_ns - BEGIN_NS <= 120 * NS
    assert found.last_ns - BEGIN_NS >= 297 * 60 * NS
