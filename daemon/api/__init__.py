# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP in, HTTP out: /fire_detector, the evidence and the page."""
