# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m daemon` is `firewitness`."""

from __future__ import annotations

import sys

from daemon.cli import main

sys.exit(main())
