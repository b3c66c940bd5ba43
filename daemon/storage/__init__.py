# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was seen, and what was not, on a disk so that it can be proved: stills, ledger, index."""
