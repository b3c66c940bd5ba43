# SPDX-License-Identifier: AGPL-3.0-or-later
"""The order of the system calls is the design's: what the store tells the kernel, not what it means to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CALLS = "openat,write,pwrite64,fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir"
SCRIPT = """
import os, sys
from pathlib import Path
from daemon.storage.clips import Ended
from tests.storage.store_kit import *

def say(what):
    os.write(1, f"== {what}\\n".encode())

clocks = FakeClocks()
store = Store.open(settings_of(Path(sys.argv[1])), clocks, version="0", cameras=["hall"])
entries = still_entries(store, evidence_of(1, BEGIN_NS), evidence_of(2, BEGIN_NS + 1))
say("store")
store.commit(entries)
say("acknowledged")
more = still_entries(store, evidence_of(3, BEGIN_NS + 2), evidence_of(4, BEGIN_NS + 3, camera="yard"))
say("again")
store.commit(more)
say("acknowledged")
writer = ClipWriter(clip_of(9), BEGIN_NS)
for phase, seconds in (("film", 1), ("film_on", 1), ("attest", 10)):
    steps = [writer.next() for _ in range(seconds)]
    say(phase)
    store.commit([], steps)
    say("acknowledged")
say("end")
store.commit([], [Ended(writer.clip.id, "ended")])
say("acknowledged")
clocks.run_for(31 * DAY_NS)
say("purge")
assert store.purge.run(dry_run=False, all_due=True).removed == 5
say("purged")
os._exit(0)
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What was asked of the kernel in each phase: 'call path', such as 'fdatasync /…/ledger/2026-11.jsonl'."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to install strace")
        pytest.skip("strace is not installed")
    folder = tmp_path_factory.mktemp("strace")
    log = folder / "log"
    # -y gives a descriptor's path: "fdatasync(7</root/ledger/2026-11.jsonl>) = 0"
    command = [
        strace,
        "-f",
        "-y",
        "-s",
        "200",
        "-e",
        f"trace={CALLS}",
        "-o",
        str(log),
        sys.executable,
        "-c",
        SCRIPT,
        str(folder),
    ]
    ran = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    if "Operation not permitted" in ran.stderr and not os.environ.get("CI"):
        pytest.skip("this sandbox does not allow ptrace")
    assert ran.returncode == 0, ran.stderr
    return _phases(log.read_text(), folder / "store")


def _phases(log: str, root: Path) -> dict[str, list[str]]:
    phases: dict[str, list[str]] = {}
    current: list[str] = []
    for line in log.splitlines():
        call = re.sub(r"^\d+ +", "", line)
        if said := re.search(r'"== (\w+)', call):
            current = phases.setdefault(said[1], []) if said[1] not in phases else []
            continue
        name = call.partition("(")[0]
        path = re.search(rf'{re.escape(str(root))}([^>"]*)', call)
        if name != "openat" and path is not None:
            paths = re.findall(rf'{re.escape(str(root))}([^>"]*)', call)
            current.append(f"{name} {paths[-1]}")
    return phases


def last(calls: list[str], matches: Callable[[str], object]) -> int:
    found = [at for at, call in enumerate(calls) if matches(call)]
    assert found, calls
    return found[-1]


def first(calls: list[str], matches: Callable[[str], object]) -> int:
    return next((at for at, call in enumerate(calls) if matches(call)), -1)


STILLS_FOLDER = r"/evidence/\w+/2026/11/23"


def test_storing(calls: dict[str, list[str]]) -> None:
    """Per still: write, fdatasync, rename; then folders; then the ledger; then SQLite's WAL; then the acknowledgement."""
    for phase, stills in (("store", 2), ("again", 2)):
        made = calls[phase]
        part = rf"{STILLS_FOLDER}/\..*\.part$"
        for path in {call.split()[1] for call in made if re.search(part, call)}:
            assert [call.split()[0] for call in made if call.endswith(path)] == ["unlink", "pwrite64", "fdatasync"]
        renames = [at for at, call in enumerate(made) if call.startswith("rename")]
        assert len(renames) == stills
        for at in renames:
            assert made[at - 1].startswith("fdatasync")
            still = made[at].split()[1]
            assert made[at - 1].split()[1] == re.sub(r"([^/]+)$", r".\1.part", still)
        folder_syncs = [at for at, call in enumerate(made) if re.fullmatch(rf"fsync {STILLS_FOLDER}", call)]
        assert renames[-1] < min(at for at in folder_syncs if at > renames[0])
        ledger_write = first(made, lambda call: re.match(r"pwrite64 /ledger/", call))
        assert folder_syncs[-1] < ledger_write
        assert made[ledger_write + 1].startswith("fdatasync /ledger/")
        wal = [at for at, call in enumerate(made) if "index.sqlite-wal" in call and at > ledger_write]
        assert made[wal[-1]].startswith(("fsync", "fdatasync"))
        assert [call for call in made[ledger_write + 2 :] if "index.sqlite" not in call] in ([], ["fsync /ledger"])


def test_a_new_folders_parents_are_synced(calls: dict[str, list[str]]) -> None:
    """Each made folder is followed by an fsync of its parent, before anything lies in it."""
    made = calls["store"]
    folders = [call.split()[1] for call in made if call.startswith("mkdir")]
    assert folders == [f"/evidence{rest}" for rest in ("", "/hall", "/hall/2026", "/hall/2026/11", "/hall/2026/11/23")]
    for folder in folders:
        at = made.index(f"mkdir {folder}")
        assert made[at + 1] == f"fsync {folder.rpartition('/')[0]}"


def test_a_group_costs_one_sync_of_each_kind(calls: dict[str, list[str]]) -> None:
    """Folder of a camera that is known already: once; ledger: once; SQLite: one commit, one sync."""
    made = calls["again"]
    assert made.count("fsync /evidence/hall/2026/11/23") == 1
    assert len([call for call in made if call.startswith("fdatasync /ledger/")]) == 1


def test_a_clip_grows(calls: dict[str, list[str]]) -> None:
    """Written and synced before anything is acknowledged, its folder too when it is new; nothing else for a fragment."""
    growing = rf"{STILLS_FOLDER}/\d{{6}}\.\d{{3}}-[0-9a-f-]{{36}}\.mp4\.open"
    written = [f"{call} {growing}" for call in ("pwrite64", "fdatasync")]
    for phase, expected in (("film", [*written, f"fsync {STILLS_FOLDER}"]), ("film_on", written)):
        made = [call for call in calls[phase] if "index.sqlite" not in call]
        assert len(made) == len(expected), made
        assert all(re.fullmatch(wanted, call) for wanted, call in zip(expected, made, strict=True)), made


def test_a_clip_is_attested_when_durable(calls: dict[str, list[str]]) -> None:
    """A segment's line follows the sync of its bytes; at the end the file's protection, name and folder come before its line."""
    names = {"attest": ["pwrite64", "fdatasync"], "end": ["fsync", "rename", "fsync"]}
    for phase, before in names.items():
        made = calls[phase]
        line = first(made, lambda call: re.match(r"pwrite64 /ledger/", call))
        of_file = [call for call in made[:line] if "index.sqlite" not in call]
        assert [call.split()[0] for call in of_file] == before
        assert made[line + 1].startswith("fdatasync /ledger/")
        assert not [call for call in made[line:] if ".mp4" in call]
        wal = [at for at, call in enumerate(made) if "index.sqlite-wal" in call and at > line]
        assert made[wal[-1]].startswith(("fsync", "fdatasync"))
    protected, renamed, synced = (call.split()[1] for call in calls["end"][:3])
    assert protected == f"{renamed}.open"
    assert synced == renamed.rpartition("/")[0]


def test_purging(calls: dict[str, list[str]]) -> None:
    """Line, fdatasync; unlink; folders' fsync; rows; only then the folders, when empty."""
    made = calls["purge"]
    line = first(made, lambda call: re.match(r"pwrite64 /ledger/", call))
    assert made[line + 1].startswith("fdatasync /ledger/")
    unlinks = [at for at, call in enumerate(made) if call.startswith("unlink") and call.endswith(".jpg")]
    assert len(unlinks) == 4
    assert line + 1 < unlinks[0]
    synced = [made.index(f"fsync /evidence/{camera}/2026/11/23") for camera in ("hall", "yard")]
    assert unlinks[-1] < min(synced)
    wal = [at for at, call in enumerate(made) if "index.sqlite-wal" in call and at > line]
    assert max(synced) < wal[0]
    assert max(synced) < last(made, lambda call: re.match(r"(fsync|fdatasync) .*-wal$", call))
    assert wal[-1] < first(made, lambda call: call.startswith("rmdir"))
