# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page of codes is made from the table, and the pages of documents name every URL."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from daemon.api import codes
from daemon.api.app import create_app
from daemon.api.live import LiveStatus
from daemon.clock import HostClocks
from daemon.control import Control
from daemon.detect.work import WorkClient
from daemon.settings import Settings
from daemon.storage.queries import Index

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_codes_is_fresh() -> None:
    """`python -m daemon.api.codes > docs/error-codes.md` makes it."""
    made = subprocess.run(
        [sys.executable, "-m", "daemon.api.codes"], capture_output=True, text=True, check=True, cwd=DOCS.parent
    )
    assert made.stdout == codes.page()
    assert (DOCS / "error-codes.md").read_text() == made.stdout


def test_every_url_is_documented(tmp_path: Path) -> None:
    """Each rule of the application stands in docs/api.md as a heading of its own or in its table."""
    app = create_app(
        Settings(),
        index=Index(tmp_path, HostClocks()),
        live=LiveStatus(Control(tmp_path)),
        control=Control(tmp_path),
        detector=WorkClient(tmp_path),
        clocks=HostClocks(),
        host="127.0.0.1",
        port=2222,
    )
    documented = set(re.findall(r"`(?:[A-Z]+ )?(/[^` ?]*)", (DOCS / "api.md").read_text()))
    rules = {re.sub(r"<(?:\w+:)?\w+>", "<id>", rule.rule) for rule in app.url_map.iter_rules()}
    rules = {rule.replace("/static/<id>", "/static/<file>").replace("<id>.jpg", "<n>.jpg") for rule in rules}
    assert rules <= documented
