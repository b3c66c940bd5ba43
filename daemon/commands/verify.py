# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness verify [STORE]`: whether ledger, files and index still say the same; also of a copy, also while recording."""

from __future__ import annotations

import argparse
import sys

from daemon.commands import settings as settings_of
from daemon.storage.verify import Verification, verify


def run(options: argparse.Namespace) -> int:
    """0 when nothing is wrong, 1 when something is; the first break is named first."""
    root = options.root or settings_of.of(options.config).storage.root
    result = verify(root, progress=_progress if sys.stderr.isatty() else lambda what, done, of: None)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    _tell(result)
    return result.exit_status


def _progress(what: str, done: int, of: int) -> None:
    print(f"\r\033[K{what}: {done}" + (f" of {of}" if of else ""), end="", file=sys.stderr, flush=True)


def _tell(result: Verification) -> None:
    print(f"store     {result.store}")
    print(f"ledger    {result.lines} lines; head seq {result.head.seq} hash {result.head.hash}")
    missing = f"; {result.missing} known to be missing" if result.missing else ""
    print(f"stills    {result.stills}, {result.bytes / 1e6:.1f} MB{missing}")
    for note in result.notes:
        print(f"note      {note}")
    for finding in result.findings:
        print(f"WRONG     {finding}")
    if result.found > len(result.findings):
        print(f"WRONG     and {result.found - len(result.findings)} more")
    print(
        "verified: nothing is wrong"
        if not result.found
        else f"NOT verified: {result.found} findings, the first break first"
    )
