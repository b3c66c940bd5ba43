# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness doctor`: is this host fit for these settings, and what to do where it is not."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator

from daemon.commands import settings as settings_of
from daemon.doctor import cameras, disk, host, service
from daemon.doctor.finding import Finding, ok, problem
from daemon.errors import SettingsError


def run(options: argparse.Namespace) -> int:
    """0 when there is no problem, 1 when there is one; warnings alone are none."""
    findings = []
    for finding in _findings(options):
        findings.append(finding)
        if not options.json:
            print(f"{finding.level:8}  {finding.about}: {finding.what}", flush=True)
            if finding.do:
                print(f"          → {finding.do}", flush=True)
    if options.json:
        print(json.dumps([dataclasses.asdict(each) for each in findings], ensure_ascii=False, indent=1))
    else:
        counts = [sum(each.level == level for each in findings) for level in ("problem", "warning")]
        print(
            ", ".join(
                f"{count} {what}{'s' * (count != 1)}"
                for count, what in zip(counts, ("problem", "warning"), strict=True)
            )
        )
    return int(any(each.level == "problem" for each in findings))


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    try:
        file = settings_of.file(options.config)
    except SettingsError as error:
        yield problem(
            "settings", str(error).replace("\n", "; "), "mend the file; without it nothing else can be looked at"
        )
        return
    yield ok("settings", f"{file.path} is good")
    answer = service.ask(file.settings)
    yield from service.look(file, answer)
    yield from host.look(file.settings)
    yield from disk.look(file.settings)
    yield from cameras.look(file, answer.status["cameras"] if answer.status else {})
