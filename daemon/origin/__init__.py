# SPDX-License-Identifier: AGPL-3.0-or-later
"""When and where in its picture a camera first showed a fire; docs/origin.md."""
