# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `firewitness doctor` makes of the facts of a host: each of its judgements, without the hardware."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon import shipped, wire
from daemon.clock import HostClocks, Synchronisation
from daemon.config_file import read
from daemon.control import Control
from daemon.detect.runtimes import Host
from daemon.doctor import disk, host, service
from daemon.doctor.finding import Finding, Level
from daemon.errors import StoreError
from daemon.settings import Settings, StorageSettings, VerifySettings
from daemon.storage import disk as disks
from daemon.storage.durable import RealDisk

MOUNTS = b"""\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /tmp rw,nosuid - tmpfs tmpfs rw,size=1g
24 22 8:17 / /srv/fire\\040witness rw,noatime - xfs /dev/sdb1 ro,attr2
25 22 0:44 / /mnt/share rw - nfs4 server:/share rw
26 22 0:45 / /mnt/br\xc3\xa4nde rw - xfs /dev/sdc1 rw
27 22 0:46 / /mnt/\xff rw - nfs4 server:/\xff rw
"""


def test_what_is_wrong_says_what_to_do() -> None:
    """Every judgement at both sides of its border; none but ok comes without advice."""
    plain, gpu = Host(False, False, True, True), Host(True, True, True, True)
    judged: list[tuple[Finding, Level]] = [
        (host.of_sqlite((3, 51, 2)), "problem"),
        (host.of_sqlite((3, 51, 3)), "ok"),
        (host.of_clock(Synchronisation(False, 16.0)), "warning"),
        (host.of_clock(Synchronisation(True, 0.01)), "ok"),
        (host.of_cores(2, 16), "ok"),
        (host.of_cores(2, 17), "warning"),
        (host.of_memory(4 * 10**9, 5 * 10**9, 9), "warning"),
        (host.of_memory(5 * 10**9, 5 * 10**9, 9), "ok"),
        (list(host.of_detector(Settings(), plain, devices=False))[-1], "ok"),
        (list(host.of_detector(Settings(), plain, devices=True))[-1], "warning"),
        (list(host.of_detector(Settings(), gpu, devices=True))[-1], "ok"),
        (list(host.of_detector(_settings(device="cuda"), plain, devices=True))[-1], "problem"),
        (list(host.of_detector(_settings(weights_sha256="0" * 64), plain, devices=False))[-1], "problem"),
        (list(host.of_verifier(VerifySettings(weights=shipped.WEIGHTS)))[-1], "ok"),
        (list(host.of_verifier(VerifySettings(weights=shipped.WEIGHTS, weights_sha256="0" * 64)))[-1], "problem"),
        (disk.of_space(9, 1000, 10), "problem"),
        (disk.of_space(19, 1000, 10), "warning"),
        (disk.of_space(20, 1000, 10), "ok"),
        (disk.of_one_disk(1, {"evidence": 1, "ledger": 2}), "problem"),
        (disk.of_one_disk(1, {"evidence": 1, "ledger": 1}), "ok"),
        (disk.of_state(1, 2, 1, Path("state")), "ok"),
        (disk.of_state(1, 1, 1, Path("state")), "ok"),
        (disk.of_state(2, 2, 1, Path("state")), "warning"),
        (service.of_daemon(service.Answer(None)), "warning"),
        (disk.of_owner(Path("/"), Path("/"), False, 1000), "problem"),
        (disk.of_owner(Path("/"), Path("/"), True, 1000), "ok"),
    ]
    for finding, level in judged:
        assert finding.level == level, finding
        assert bool(finding.do) == (level != "ok"), finding
        assert finding.what


def _settings(**detect: str) -> Settings:
    return Settings.model_validate({"detect": detect})


@pytest.mark.parametrize(
    ("folder", "point", "kind", "level"),
    [
        ("/home/x", "/", "ext4", "ok"),
        ("/tmp/store", "/tmp", "tmpfs", "warning"),
        ("/tmpfs", "/", "ext4", "ok"),
        ("/srv/fire witness/a", "/srv/fire witness", "xfs", "problem"),
        ("/mnt/share", "/mnt/share", "nfs4", "problem"),
        ("/mnt/brände/a", "/mnt/brände", "xfs", "ok"),
        ("/mnt/\udcff", "/mnt/\udcff", "nfs4", "problem"),
    ],
)
def test_the_mount_under_a_folder(folder: str, point: str, kind: str, level: Level) -> None:
    """The innermost one counts; read-only, over a network and in memory are told apart."""
    mount = disk.mount_of(Path(folder), MOUNTS)
    assert (mount.point, mount.kind) == (point, kind)
    assert disk.of_mount(mount).level == level


def test_the_daemons_own_word_is_passed_on() -> None:
    """Running and ready; running and not, with the sentences of detector and recorder."""
    well = {"state": "ready", "disk": "ok", "detail": ""}
    ready = {"ready": True, "version": "1", "detector": well, "recorder": well}
    assert service.of_daemon(service.Answer(ready)).level == "ok"
    looks = {"state": "ready", "detail": "OpenVINO: no NVIDIA GPU"}
    ill = {"disk": "wrong", "detail": "another store is there"}
    wrong = service.of_daemon(service.Answer({**ready, "ready": False, "detector": looks, "recorder": ill}))
    assert wrong.level == "problem"
    assert "disk wrong (another store is there)" in wrong.what


def test_a_secret_that_everyone_can_read(tmp_path: Path) -> None:
    """Password files, and settings in which a password stands, are closed to other users or named."""
    config, secret = tmp_path / "config.yaml", tmp_path / "hall.password"
    secret.write_text("s3cret")
    config.write_text(
        "cameras:\n  hall: {url: rtsp://10.0.0.21/a, username: viewer, password_file: hall.password}\n"
        "  yard: {url: rtsp://10.0.0.22/a, username: viewer, password: s3cret}\n"
    )
    for mode, level in ((0o644, "warning"), (0o640, "ok")):
        config.chmod(mode)
        secret.chmod(mode)
        found = [each for path, holds in service.secrets_of(read(config)) for each in service.of_secret(path, holds)]
        assert [each.level for each in found] == [level, level]
        assert "s3cret" not in str(found)


def test_a_look_at_the_store_makes_nothing(tmp_path: Path) -> None:
    """A store that will begin, one that is there, one that is gone: as a start would see it, and nothing is written."""
    storage = StorageSettings(root=tmp_path / "store", state_dir=tmp_path / "state")
    assert storage.state_dir is not None
    assert disks.standing(RealDisk(), storage.root, storage.state_dir) is None
    assert list(tmp_path.iterdir()) == []
    disks.make_root(RealDisk(), storage.root, storage.state_dir)
    made = disks.identify(RealDisk(), storage.root, storage.state_dir, HostClocks(), new_store=False)
    assert disks.standing(RealDisk(), storage.root, storage.state_dir) == made
    (storage.root / disks.MARKER).unlink()
    with pytest.raises(StoreError, match="holds no store"):
        disks.standing(RealDisk(), storage.root, storage.state_dir)
    storage.root.rmdir()
    with pytest.raises(StoreError, match="is gone"):
        disks.standing(RealDisk(), storage.root, storage.state_dir)


def test_a_daemon_that_says_nothing_is_not_called_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs, or is closed to who asks: cameras may be watched all the same, and the port is its own."""
    config = tmp_path / "config.yaml"
    config.write_text("storage: {root: store, state_dir: state, runtime_dir: run}\n")
    settings = read(config).settings
    assert service.ask(settings) == service.Answer(None)
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Control.ask, "__defaults__", (None, 0.1))
    with wire.listen(tmp_path / "run" / "control.sock"):
        hangs = service.ask(settings)
    assert hangs.running
    assert service.of_daemon(hangs).level == "problem"
    assert "did not answer 'status' within 0.1 s" in service.of_daemon(hangs).what
    assert service.ask(settings) == service.Answer(None), "what a kill left of the socket is no daemon"
