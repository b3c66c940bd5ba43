# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line where its output goes wrong: a status that says no must mean it, and nobody sees a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.commands import status

ROOT = Path(__file__).parents[2]
CONFIG = """cameras:
  hall:
    url: rtsp://127.0.0.1:9/none
storage: {root: store, state_dir: state, runtime_dir: run}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file with folders of its own."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def firewitness(*arguments: object, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, this checkout's; `shell` is what a shell does with its output."""
    line = f'"$0" -m daemon "$@" {shell}'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", sys.executable, *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env={**os.environ, **environment},
        encoding="utf-8", errors="surrogateescape",
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_knows_few_letters_gets_the_whole_answer(config: Path, encoding: str) -> None:
    """An arrow before the advice and a × in a table are by far not worth to end with a traceback."""
    answer = firewitness("capacity", "--config", config, PYTHONIOENCODING=encoding)
    assert answer.stderr == ""
    assert answer.returncode in (0, 1)
    assert "and for each camera that burns" in answer.stdout


@pytest.mark.parametrize("command", ["check-config", "capacity"])
def test_output_that_cannot_be_written_is_no_answer(config: Path, command: str) -> None:
    """On a full disk: one sentence and 2, since 1 says that the answer is no."""
    answer = firewitness(command, "--config", config, shell=">/dev/full")
    assert (answer.returncode, answer.stderr) == (2, f"firewitness {command}: No space left on device\n")


def test_a_reader_that_has_enough_was_not_told_that_all_is_well(config: Path) -> None:
    """`firewitness verify | head -1`: nothing is complained of, and what was not told is no yes."""
    answer = firewitness("capacity", "--config", config, shell="| true")
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_closed_output_does_not_change_the_answer(config: Path, closed: str) -> None:
    """A cron job may have closed it."""
    assert firewitness("init", "--new-store", "--config", config).returncode == 0
    assert firewitness("verify", "--config", config, shell=closed).returncode == 0


def test_what_the_system_refuses_is_a_sentence(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is closed to this user, wherever a command meets it: 2, not the 1 of a broken store."""
    from daemon.cli import main

    def refuse(_options: object) -> int:
        raise PermissionError(13, "Permission denied", "/srv/firewitness/index.sqlite")

    monkeypatch.setattr(status, "run", refuse)
    assert main(["status", "--config", str(config)]) == 2
    assert capsys.readouterr().err == "firewitness status: /srv/firewitness/index.sqlite: Permission denied\n"
