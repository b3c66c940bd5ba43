# SPDX-License-Identifier: AGPL-3.0-or-later
"""From pictures to weights, and how good they are: `python -m training`, from a checkout; the daemon imports none of it."""
