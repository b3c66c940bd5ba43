# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands beside `run`: what they print, what they return, and that a mistake is one sentence and no traceback."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families as parse_metrics

from daemon import sockets
from daemon.api.metrics import ALL as ALL_METRICS
from daemon.control import Control
from daemon.detect.detector import REFERENCE_PICTURE
from tests.system.daemon_under_test import Daemon, wait_for

FOLDERS = {"root": "store", "state_dir": "state", "runtime_dir": "run"}
UNREACHABLE = {"yard": {"url": "rtsp://127.0.0.1:9/none"}}


def test_detect_without_a_daemon(daemon: Daemon) -> None:
    """Pictures are looked at by a detector of its own; what is no picture is named and does not stop the rest."""
    (daemon.folder / "text.jpg").write_text("no picture")
    daemon.configure({})
    answer = daemon.command(
        "detect", str(daemon.folder / "none.jpg"), str(daemon.folder / "text.jpg"), str(REFERENCE_PICTURE)
    )
    assert answer.returncode == 2
    assert answer.stdout.startswith(f"{REFERENCE_PICTURE}: fire 0.")
    complaints = answer.stderr.splitlines()
    assert complaints[0] == f"{daemon.folder}/none.jpg: No such file or directory"
    assert complaints[1].startswith(f"{daemon.folder}/text.jpg: not an image of an allowed kind")
    assert len(complaints) == 2


def test_analyse_needs_an_id_and_a_daemon(daemon: Daemon) -> None:
    """Each mistake is one sentence."""
    daemon.configure(UNREACHABLE)
    refused = daemon.command("analyse", "yesterday's")
    assert refused.returncode == 2
    assert refused.stderr.startswith("firewitness analyse: \"yesterday's\" is no incident's id; ")
    alone = daemon.command("analyse", "0193a000-0000-7000-8000-000000000001")
    assert alone.returncode == 2
    assert alone.stderr.startswith("firewitness analyse: no daemon is running here")
    assert len(alone.stderr.splitlines()) == 1


@pytest.mark.timeout(120)
def test_a_daemon_answers_the_commands(daemon: Daemon) -> None:
    """status, detect, purge, clock and verify beside a running daemon whose only camera is away."""
    daemon.configure(UNREACHABLE)
    daemon.start()
    daemon.wait_ready()
    status = daemon.command("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert "camera    yard: " in status.stdout
    assert "unreachable" in status.stdout
    assert "evidence  0 stills, 0.00 GB" in status.stdout
    assert status.stdout.splitlines()[-1] == "ready"

    found = json.loads(daemon.command("detect", "--json", str(REFERENCE_PICTURE)).stdout)
    assert found["err_no"] == 0
    asked = requests.post(
        daemon.url("/fire_detector"), json={"req_id": 7, "image": _base64(REFERENCE_PICTURE)}, timeout=20
    ).json()
    assert (asked["req_id"], asked["err_no"]) == (7, 0)
    assert asked["result"]["detections"] == found["result"]["detections"]

    refused = daemon.command("analyse", "0193a000-0000-7000-8000-000000000001")
    assert (refused.returncode, refused.stderr) == (
        2, "firewitness analyse: there is no incident 0193a000-0000-7000-8000-000000000001\n"
    )  # fmt: skip
    assert daemon.command("purge", "--dry-run").stdout == "Nothing is older than the retention of 30 days.\n"
    assert daemon.command("purge").returncode == 0
    check_captures(daemon)
    room = json.loads(daemon.command("capacity", "--json").stdout)
    assert room["storage"]["cameras"][0]["basis"]["how"] == "assumed"
    assert daemon.command("clock", "accept").stdout.startswith("The purge now goes by 20")
    assert daemon.command("verify").returncode == 0
    (gap, *_) = wait_for(lambda: daemon.get("/api/v1/gaps")["items"], 20, "the camera's gap")
    assert (gap["camera"], gap["reason"], gap["to"]) == ("yard", "unreachable", None)
    check_metrics(daemon)
    daemon.stop()
    assert daemon.command("verify").stdout.splitlines()[-1] == "verified: nothing is wrong"


def check_captures(daemon: Daemon) -> None:
    """Whoever pushes the button for a camera that is away hears so at once; mistakes are told in the command's own words."""
    begun = daemon.command("capture", "--camera", "yard", "panel")
    assert begun.returncode == 0
    assert "yard: not watched now: unreachable; " in begun.stdout
    for arguments, sentence in (
        (("--camera", "roof", "panel"), "there is no camera 'roof'; there are yard"),
        (("--all", "--before", "20min", "panel"), "--before 20min: from 0 s to 10 min are allowed"),
        (("--all", "--after", "soon", "panel"), "--after soon: write a number with one of the units"),
    ):
        refused = daemon.command("capture", *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"firewitness capture: {sentence}")


def check_metrics(daemon: Daemon) -> None:
    """Prometheus is told what `status` says; of the table only what this camera and this hour cannot know is absent."""

    def scraped() -> dict[tuple[str, ...], float]:
        families = parse_metrics(requests.get(daemon.url("/metrics"), timeout=10).text)
        return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}

    wait_for(lambda: scraped()["firewitness_gaps_open", "unreachable"] == 1, 10, "the open gap is told")
    told = scraped()
    status = daemon.status()
    assert status is not None
    assert told["firewitness_disk_free_bytes",] == pytest.approx(status["recorder"]["free_bytes"], rel=0.1)
    assert told["firewitness_disk_reserve_bytes",] == status["recorder"]["reserve_bytes"] > 0
    assert sum(value for (name, *_), value in told.items() if name == "firewitness_cameras") == 1
    assert told["firewitness_camera_watched", "yard"] == 0
    absent = {each.full_name for each in ALL_METRICS} - {name for name, *_ in told}
    assert absent <= {
        "firewitness_camera_last_watched_timestamp_seconds",
        "firewitness_camera_interval_seconds",
        "firewitness_camera_clock_offset_seconds",
        "firewitness_evidence_oldest_timestamp_seconds",
        "firewitness_retention_forecast_seconds",
        "firewitness_recorder_purged_stills_total",
    }


def _base64(path: Path) -> str:
    import base64

    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.timeout(120)
def test_bad_weights_do_not_stop_the_recording(daemon: Daemon) -> None:
    """A daemon with a broken model runs, says why, and answers 1009; it is not restarted in a loop."""
    bad = daemon.folder / "bad.onnx"
    bad.write_bytes(b"no model")
    daemon.configure(UNREACHABLE, detect={"weights": str(bad)})
    daemon.start()

    def failed() -> bool:
        status = daemon.status()
        return bool(status and status["detector"]["state"] == "failed" and status["recorder"]["disk"] == "ok")

    wait_for(failed, 30, f"the detector says that it failed\n{daemon.log}")
    pid = (daemon.status() or {})["detector"]["pid"]

    def refused() -> bool:
        try:
            answer = requests.post(daemon.url("/fire_detector"), json={"image": _base64(REFERENCE_PICTURE)}, timeout=10)
        except requests.ConnectionError:
            return False
        return answer.status_code == 503 and answer.json()["err_no"] == 1009

    wait_for(refused, 20, "POST is answered with 1009")
    assert requests.get(daemon.url("/healthz"), timeout=5).status_code == 200
    not_ready = requests.get(daemon.url("/readyz"), timeout=5)
    assert not_ready.status_code == 503
    assert (daemon.status() or {})["detector"]["pid"] == pid
    daemon.stop()


def test_capacity_says_what_is_needed_and_what_is_in_the_way(daemon: Daemon) -> None:
    """Without a daemon or a store: a table with a basis for each figure; a retention that cannot be kept is 1."""
    daemon.configure(
        {"yard": {"url": "rtsp://10.0.0.21/a", "detect_url": "rtsp://10.0.0.21/b"}}, storage={"retention": "1 h"}
    )
    kept = daemon.command("capacity")
    assert (kept.returncode, kept.stderr) == (0, "")
    lines = kept.stdout.splitlines()
    for title in ("Memory in quiet times", "GPU memory", "Network", "Cores busy in quiet times"):
        assert title in lines
    figures = [line for line in lines if line.startswith("  ") and not line.lstrip().startswith("in all")]
    named = [
        line for line in figures if any(f"{how}: " in line for how in ("measured", "seen", "configured", "assumed"))
    ]
    assert len(figures) - len(named) == 6  # of this disk itself
    assert any("camera yard" in line and "3.50 Mbit/s" in line for line in named)
    daemon.configure(UNREACHABLE, storage={"retention": "30000 d"})
    refused = daemon.command("capacity")
    assert refused.returncode == 1
    assert refused.stdout.splitlines()[-1].startswith("WARNING  evidence will be kept for ")
    daemon.configure({})
    assert daemon.command("capacity").stderr.endswith(
        "names no camera that is enabled, and what is needed depends on them\n"
    )


def test_verify_names_the_first_break(daemon: Daemon) -> None:
    """A changed ledger line is found, named by file and line, and told by the exit status; also in a copy."""
    daemon.configure(UNREACHABLE)
    assert daemon.command("init", "--new-store").returncode == 0
    assert daemon.command("verify").returncode == 0
    copy = daemon.folder / "copy"
    shutil.copytree(daemon.root, copy)
    ledger = next((copy / "ledger").glob("*.jsonl"))
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join([lines[0].replace('"yard"', '"barn"'), *lines[1:]]))
    broken = daemon.command("verify", str(copy))
    assert broken.returncode == 1
    wrong = [line for line in broken.stdout.splitlines() if line.startswith("WRONG")]
    assert f"ledger/{ledger.name} line 2" in wrong[0]
    assert daemon.command("verify").returncode == 0


def test_a_wrong_disk_is_said_and_a_new_store_is_a_decision(daemon: Daemon) -> None:
    """An emptied root is not silently begun anew: it may be a disk that is not mounted."""
    daemon.configure(UNREACHABLE)
    assert daemon.command("init", "--new-store").returncode == 0
    shutil.rmtree(daemon.root)
    refused = daemon.command("purge")
    assert refused.returncode == 2
    assert "firewitness init --new-store" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert daemon.command("init", "--new-store").stdout == f"A new store has begun in {daemon.root}.\n"
    again = daemon.command("init", "--new-store").stdout
    assert again.startswith(f"{daemon.root} holds the store ")
    assert again.endswith(": it goes on, and is the one that belongs there from now on.\n")
    assert daemon.command("purge").returncode == 0


@pytest.mark.parametrize("command", [("status",), ("clock", "accept")])
def test_without_a_daemon_it_is_said_so(daemon: Daemon, command: tuple[str, ...]) -> None:
    """What only a running daemon can answer says that there is none, and where it looked."""
    daemon.configure(UNREACHABLE)
    answer = daemon.command(*command)
    assert answer.returncode == 2
    assert answer.stderr.startswith(
        f"firewitness {command[0]}: no daemon is running here (nobody listens at {daemon.folder}"
    )
    assert len(answer.stderr.splitlines()) == 1


COMMANDS_OF_A_STRANGER = {
    "check-config": "storage.root: {closed}/store cannot be written by uid ",
    "doctor": "problem   writable: not {closed} by uid ",
    "status": "{closed}/run/control.sock is closed to this user",
    "drill": "{closed}/run/control.sock is closed to this user",
    "purge": "{closed}/state/stores.json is closed to this user",
    "capacity": "{closed}/store/index.sqlite: cannot be read (Permission denied)",
    "verify": "{closed}/store/.firewitness is closed to this user",
    "run": "storage.root: {closed}/store cannot be written by uid ",
}


@pytest.mark.parametrize(("command", "sentence"), COMMANDS_OF_A_STRANGER.items())
def test_without_rights_it_is_said_so(daemon: Daemon, command: str, sentence: str) -> None:
    """Who asks without sudo, of a service's folders that are closed to others: what is closed, and no traceback."""
    closed = daemon.folder / "closed"
    closed.mkdir()
    paths = {name: str(closed / folder) for name, folder in FOLDERS.items()}
    daemon.configure(UNREACHABLE, storage=paths)
    daemon.folder.chmod(0o755)
    daemon.config.chmod(0o644)
    closed.chmod(0)
    if os.geteuid() == 0:
        daemon.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    answer = daemon.command(command)
    closed.chmod(0o700)
    assert answer.returncode in (1, 2)
    assert sentence.format(closed=closed) in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_dry_purge_makes_no_store(daemon: Daemon) -> None:
    """Where there is none yet there is nothing to purge, and asking changes nothing."""
    daemon.configure(UNREACHABLE)
    refused = daemon.command("purge", "--dry-run")
    assert refused.returncode == 2
    assert refused.stderr == f"firewitness purge: {daemon.root} holds no store yet: there is nothing to purge\n"
    assert not daemon.root.exists()


@pytest.mark.timeout(120)
def test_a_lost_password_spoils_no_drill(daemon: Daemon) -> None:
    """Of another camera, whose worker has it already: the drill's camera joins and leaves, and the daemon lives on."""
    secret = daemon.folder / "secret"
    secret.write_text("s3cret\n")
    daemon.configure({"yard": {"url": "rtsp://127.0.0.1:9/none", "username": "viewer", "password_file": "secret"}})
    daemon.start()
    wait_for(daemon.status, 45, "the daemon answers")
    secret.unlink()
    control = Control(sockets.control(daemon.folder / "run"))
    assert control.ask("drill_begin", {"url": "rtsp://127.0.0.1:9/drill"}) == {"camera": "drill"}
    assert "drill" in (daemon.status() or {})["cameras"]
    control.ask("drill_end")
    assert set((daemon.status() or {})["cameras"]) == {"yard"}
    refused = daemon.command("reload")
    assert refused.returncode == 2
    assert "password_file" in refused.stderr
    daemon.stop()


@pytest.mark.timeout(120)
def test_what_is_lacking_stops_no_recording(daemon: Daemon) -> None:
    """As after a reboot at which a share was not mounted: told once each, the camera without its password is refused until it has it."""
    yard = {"url": "rtsp://127.0.0.1:9/yard", "username": "viewer", "password_file": "share/secret"}
    hall = {"url": "rtsp://127.0.0.1:9/hall", "components_view": "share/hall.jpg"}
    daemon.configure({"hall": hall, "yard": yard}, api={"image_roots": [str(daemon.folder / "share")]})
    refused = daemon.command("check-config")
    assert (refused.returncode, "share is no folder" in refused.stderr) == (2, True)
    daemon.start()

    def condition(name: str) -> str:
        return str((daemon.status() or {"cameras": {}})["cameras"].get(name, {}).get("condition"))

    wait_for(lambda: (condition("hall"), condition("yard")) == ("unreachable", "refused"), 45, daemon.log)
    for what in ("api.image_roots.0", "cameras.yard.password_file", "cameras.hall.components_view"):
        assert daemon.log.count(what) == 1, what
    assert "secret cannot be read" in (daemon.status() or {})["cameras"]["yard"]["detail"]
    (daemon.folder / "share").mkdir()
    (daemon.folder / "share/secret").write_text("s3cret\n")
    wait_for(lambda: condition("yard") == "unreachable", 30, "the camera is asked, with its password")
    daemon.stop()


@pytest.mark.timeout(120)
def test_no_secret_is_told_anywhere(daemon: Daemon) -> None:
    """A camera's password is in no log, page, API answer, error, process title or stored file."""
    canary = "c4nary-p@ss:word"
    (daemon.folder / "secret").write_text(canary + "\n")
    daemon.configure({"yard": {"url": "rtsp://127.0.0.1:9/none", "username": "viewer", "password_file": "secret"}})
    daemon.start()
    daemon.wait_ready()
    wait_for(lambda: daemon.get("/api/v1/gaps")["items"], 20, "a gap of the camera that is away")
    told = [daemon.log, json.dumps(daemon.status())]
    told += [
        requests.get(daemon.url(path), timeout=5).text for path in ("/", "/api/v1/cameras", "/api/v1/gaps", "/readyz")
    ]
    told += [" ".join(each.cmdline()) for each in daemon.family()]
    told.append(daemon.command("status").stdout)
    daemon.stop()
    told.append(daemon.log)
    for path in daemon.folder.rglob("*"):
        if path.is_file() and path.name not in ("secret",):
            told.append(path.read_bytes().decode("latin-1"))
    for text in told:
        assert "c4nary" not in text
