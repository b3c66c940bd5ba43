# SPDX-License-Identifier: AGPL-3.0-or-later
"""`make install` and `make uninstall`: what they put where and for whom, twice the same, and what they never touch."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.config_file import load

ROOT = Path(__file__).parents[2]
SERVICE_USER = "daemon"  # a user that every Linux has: these tests add none
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="installing is root's")

# What takes minutes in the real thing: an environment whose program says its version.
MAKE = """#!/bin/sh
for each in "$@"; do case $each in VENV=*) venv=${each#VENV=};; esac; done
mkdir -p "$venv/bin"
for program in python firewitness; do
  printf '#!/bin/sh\\necho "$0 $*" >>%s\\necho "firewitness 1.2.3"\\n' "$(dirname "$0")/calls" >"$venv/bin/$program"
  chmod 755 "$venv/bin/$program"
done
"""
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>"$(dirname "$0")/calls"
case $1 in is-system-running) echo running;; --version) echo "systemd 255 (255.4-1)";; esac
"""


class Sandbox:
    """Prefixes below one folder, and stand-ins for pip and systemctl that write down what they are called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        self.paths = {
            name: folder / path
            for name, path in {
                "PREFIX": "opt", "ETC": "etc", "UNITS": "units", "STORE": "srv", "STATE": "lib",
                "RUN": "run", "COMMAND": "bin/firewitness",
                "MAKE": "make", "SYSTEMCTL": "systemctl",
            }.items()
        }  # fmt: skip
        for name, script in {"MAKE": MAKE, "SYSTEMCTL": SYSTEMCTL}.items():
            self.paths[name].write_text(script)
            self.paths[name].chmod(0o755)
        self.calls = folder / "calls"
        self.calls.touch()
        self.calls.chmod(0o666)

    def make(self, target: str, **variables: str) -> str:
        """What it printed; asserts that it succeeded."""
        given = {**{name: str(path) for name, path in self.paths.items()}, "SERVICE_USER": SERVICE_USER, **variables}
        command = ["make", "-s", "-C", str(ROOT), target, *(f"{name}={value}" for name, value in given.items())]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def tree(self) -> dict[str, tuple[int, str, str, bytes]]:
        """Every path with mode, owner, group and content."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path != self.calls:
                content = path.read_bytes() if path.is_file() else b""
                found[str(path.relative_to(self.folder))] = (path.stat().st_mode, path.owner(), path.group(), content)
        return found


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """Below /tmp of pytest, whose folders are closed: opened for the service's user as /opt is."""
    for each in tmp_path.parents:
        if each.stat().st_mode & 0o777 == 0o700:
            each.chmod(0o755)
    return Sandbox(tmp_path)


@needs_root
def test_everything_is_in_its_place_and_twice_is_as_once(sandbox: Sandbox) -> None:
    """Unit, settings, folders and command fit each other; the second time changes nothing."""
    said = sandbox.make("install", EXTRAS="none")
    assert f"settings  {sandbox.paths['ETC']}/config.yaml, new" in said
    unit = (sandbox.paths["UNITS"] / "firewitness.service").read_text()
    assert (
        f"\nExecStart={sandbox.paths['PREFIX']}/venv/bin/firewitness run --config {sandbox.paths['ETC']}/config.yaml\n"
        in unit
    )
    for folder in ("STORE", "STATE"):
        assert f"\nReadWritePaths=-{sandbox.paths[folder]}\n" in unit
    assert f"\nUser={SERVICE_USER}\nGroup={SERVICE_USER}\n" in unit
    storage = load(sandbox.paths["ETC"] / "config.yaml").storage
    assert (storage.root, storage.state_dir) == (sandbox.paths["STORE"], sandbox.paths["STATE"])
    assert storage.runtime_dir == sandbox.paths["RUN"]
    tree = sandbox.tree()
    for path, mode, owner in (
        ("etc/config.yaml", 0o100640, "root"), ("etc", 0o40750, "root"), ("srv", 0o40750, SERVICE_USER), ("lib", 0o40750, SERVICE_USER),
        ("bin/firewitness", 0o100755, "root"), ("units/firewitness.service", 0o100644, "root"),
    ):  # fmt: skip
        assert tree[path][:2] == (mode, owner), path
        assert path.startswith(("bin", "units")) or tree[path][2] == SERVICE_USER, path
    assert "units/firewitness.service.d/notify-reload.conf" in tree, "systemctl said 255"
    assert "units/firewitness.service.d/gpu.conf" not in tree
    sandbox.make("install", EXTRAS="none")
    assert sandbox.tree() == tree
    calls = sandbox.calls.read_text()
    assert calls.count("systemctl daemon-reload") == 2
    assert calls.count("--force-reinstall .") == 2


@needs_root
def test_an_upgrade_keeps_settings_and_evidence(sandbox: Sandbox) -> None:
    """The operator's file stays as it is; the one shipped now lies beside it, and is named when it has changed."""
    sandbox.make("install", EXTRAS="none")
    config = sandbox.paths["ETC"] / "config.yaml"
    config.write_text("cameras: {}\n")
    (sandbox.paths["ETC"] / "config.yaml.shipped").write_text("# of the version before\n")
    (sandbox.paths["STORE"] / "evidence").write_text("kept")
    said = sandbox.make("install", EXTRAS="gpu")
    assert f"diff {config} {config}.shipped" in said
    assert config.read_text() == "cameras: {}\n"
    assert (sandbox.paths["STORE"] / "evidence").read_text() == "kept"
    assert (sandbox.paths["UNITS"] / "firewitness.service.d" / "gpu.conf").exists()
    assert "diff" not in sandbox.make("install", EXTRAS="gpu")


@needs_root
def test_uninstall_keeps_what_is_evidence(sandbox: Sandbox) -> None:
    """Service and program go; evidence, settings, what is known of the disks, and an operator's drop-in stay. Twice is as once."""
    sandbox.make("install", EXTRAS="gpu")
    (sandbox.paths["STORE"] / "evidence").write_text("kept")
    own = sandbox.paths["UNITS"] / "firewitness.service.d" / "own.conf"
    own.write_text("[Service]\n")
    sandbox.make("uninstall")
    sandbox.make("uninstall")
    assert {path for path in sandbox.tree() if "/" in path or path in ("opt", "srv", "lib", "etc")} == {
        "etc", "etc/config.yaml", "etc/config.yaml.shipped", "lib", "srv", "srv/evidence",
        "units/firewitness.service.d", "units/firewitness.service.d/own.conf",
    }  # fmt: skip
    assert "systemctl disable --now firewitness" in sandbox.calls.read_text()


@needs_root
def test_the_command_asks_with_the_services_settings(sandbox: Sandbox) -> None:
    """`firewitness status` needs no --config; another one can be named, and wins by standing last."""
    sandbox.make("install", EXTRAS="none")
    sandbox.calls.write_text("")
    command = str(sandbox.paths["COMMAND"])
    for arguments in (["status"], ["verify", "--config", "own.yaml"], ["--version"]):
        subprocess.run([command, *arguments], check=True, capture_output=True, timeout=10)
    program, config = sandbox.paths["PREFIX"] / "venv/bin/firewitness", sandbox.paths["ETC"] / "config.yaml"
    assert sandbox.calls.read_text().splitlines() == [
        f"{program} status --config {config}",
        f"{program} verify --config {config} --config own.yaml",
        f"{program} --version",
    ]
    assert sandbox.paths["RUN"].owner() == SERVICE_USER


def test_only_root_installs(tmp_path: Path) -> None:
    """Anyone else is told in a sentence, before anything has changed."""
    command = ["make", "-s", "-C", str(ROOT), "install", f"PREFIX={tmp_path}/opt", "EXTRAS=none"]
    if os.getuid() == 0:  # a root that is nobody special any more
        fake = tmp_path / "id"
        fake.write_text("#!/bin/sh\necho 1000\n")
        fake.chmod(0o755)
    answer = subprocess.run(
        command, capture_output=True, text=True, timeout=10, check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert answer.returncode != 0
    assert "run it as root (sudo make install)" in answer.stderr
    assert not (tmp_path / "opt").exists()


def test_the_scripts_have_no_known_mistake() -> None:
    """Shellcheck has nothing to say."""
    if shutil.which("shellcheck") is None:
        assert "FIREWITNESS_CI" not in os.environ, "CI installs shellcheck"
        pytest.skip("no shellcheck here")
    scripts = [str(each) for each in (ROOT / "systemd").glob("*.sh")]
    assert len(scripts) == 2
    answer = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stdout) == (0, "")


@needs_root
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_thing(sandbox: Sandbox) -> None:
    """With a real environment, by a Python that all may run: the service's user checks the settings with it."""
    real = {"MAKE": "make", "PYTHON": "/usr/bin/python3", "EXTRAS": "none"}
    sandbox.make("install", **real)
    answer = subprocess.run(
        [str(sandbox.paths["COMMAND"]), "check-config"], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("The settings are good: 0 cameras to watch")
    tree = {path for path in sandbox.tree() if "__pycache__" not in path}
    sandbox.make("install", **real)
    assert {path for path in sandbox.tree() if "__pycache__" not in path} == tree
    module = "import daemon; print(daemon.__file__)"
    program = [str(sandbox.paths["PREFIX"] / "venv/bin/python"), "-c", module]
    where = subprocess.run(program, capture_output=True, text=True, timeout=30, check=True, cwd="/").stdout
    assert str(sandbox.paths["PREFIX"]) in where, "a copy, not the checkout"
    sandbox.make("uninstall")
    assert not sandbox.paths["PREFIX"].exists()
