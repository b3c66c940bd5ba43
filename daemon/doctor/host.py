# SPDX-License-Identifier: AGPL-3.0-or-later
"""The host itself: SQLite, the clock, memory and cores for these cameras, and what computes the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pysqlite3.dbapi2 as sqlite

from daemon import models, sizing
from daemon.clock import Clocks, Synchronisation, host_clocks
from daemon.detect import runtimes
from daemon.detect.weights import read_weights
from daemon.doctor.finding import Finding, ok, problem, warning
from daemon.errors import DetectorError, FirewitnessError
from daemon.settings import Settings, VerifySettings
from daemon.storage.index import OLDEST_SQLITE

CAMERAS_A_CORE = (
    8  # beside inference; benchmarks/README.md: a quiet camera takes about a hundredth, a burning one far more
)
REINSTALL = "install the requirements again: make setup, or make install"


def look(settings: Settings, clocks: Clocks | None = None) -> Iterator[Finding]:
    """All findings about the host."""
    yield of_sqlite(sqlite.sqlite_version_info)
    yield of_clock((clocks or host_clocks()).synchronisation())
    count = sum(camera.enabled for camera in settings.cameras.values())
    yield of_cores(len(os.sched_getaffinity(0)), count)
    at_most = sizing.memory_at_most_bytes(settings, sizing.streams(settings, {}))
    yield of_memory(memory_bytes(), round(sizing.total(at_most)), count)
    yield from of_detector(settings, runtimes.look(), Path("/dev/nvidiactl").exists())
    yield from of_verifier(settings.detect.verify)


def of_sqlite(version: tuple[int, ...]) -> Finding:
    found, needed = (".".join(map(str, each)) for each in (version, OLDEST_SQLITE))
    if version < OLDEST_SQLITE:
        return problem("SQLite", f"{found} can corrupt the index; {needed} or newer is needed", REINSTALL)
    return ok("SQLite", found)


def of_clock(state: Synchronisation) -> Finding:
    if not state.synchronised:
        return warning(
            "clock",
            "the kernel does not hold it for synchronised: every record says so, and after a restart of the host the purge stands still",
            "run chrony or systemd-timesyncd and see `timedatectl`; in a container it is the host's to do",
        )
    return ok("clock", f"synchronised, at most {state.max_error_s * 1000:.0f} ms off")


def of_cores(cores: int, cameras: int) -> Finding:
    what = f"{cores} for {cameras} camera{'s' * (cameras != 1)}"
    if cameras > cores * CAMERAS_A_CORE:
        return warning(
            "cores", f"{what}: several burning at once may be too much", "give it more cores, or cameras a detect_url"
        )
    return ok("cores", what)


def memory_bytes() -> int:
    """Of this host, or of the container that it is in."""
    bytes_ = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return bytes_
    return min(bytes_, int(limit)) if limit.isdigit() else bytes_


def of_memory(there: int, needed: int, cameras: int) -> Finding:
    what = f"{there / 1e9:.1f} GB; {cameras} camera{'s' * (cameras != 1)} may take {needed / 1e9:.1f} GB at worst"
    if needed > there:
        return warning("memory", what, "more memory, or smaller ingest.ring_bytes and ingest.unacked_bytes")
    return ok("memory", what)


def of_verifier(verify: VerifySettings) -> Iterator[Finding]:
    """The second model's weights; nothing where there is none."""
    if verify.weights is None:
        return
    try:
        weights = read_weights(verify.weights, verify.weights_sha256)
    except DetectorError as error:
        yield problem("verifier", str(error), "see detect.verify.weights and detect.verify.weights_sha256")
        return
    yield ok("verifier", f"{weights.path.name}, SHA-256 {weights.sha256}")


def of_detector(settings: Settings, host: runtimes.Host, devices: bool) -> Iterator[Finding]:
    """The weights, and what would compute them; `devices`: whether an NVIDIA driver is there."""
    try:
        detect = models.applied(settings).detect
        weights = read_weights(detect.weights, detect.weights_sha256, detect.allow_pickle)
    except FirewitnessError as error:
        yield problem("weights", str(error), "see detect.weights, detect.weights_sha256 and `firewitness model list`")
        return
    sure = weights.shipped or detect.weights_sha256 is not None
    said = f"{weights.path.name}, SHA-256 {weights.sha256}"
    yield (
        ok("weights", said)
        if sure
        else warning(
            "weights", f"{said}: nothing says that it is the right one", "write it down as detect.weights_sha256"
        )
    )
    try:
        choice = runtimes.choose(host, detect.device, weights.format)
    except DetectorError as error:
        yield problem("detector", str(error), "see detect.device; on a host with a GPU: make install EXTRAS=gpu")
        return
    if devices and not host.cuda and detect.device != "cpu":
        yield warning(
            "detector",
            f"{choice.runtime}, though an NVIDIA driver is here",
            "make install EXTRAS=gpu; or say detect.device: cpu",
        )
        return
    yield ok("detector", f"{choice.runtime}: {choice.why}")
