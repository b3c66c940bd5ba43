# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `firewitness …` does, a module per command; daemon/cli.py only parses."""
