# SPDX-License-Identifier: AGPL-3.0-or-later
"""Goes back over stored clips, in a process of its own: after a kill, and when somebody asks; docs/origin.md."""
