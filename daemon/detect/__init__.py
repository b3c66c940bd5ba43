# SPDX-License-Identifier: AGPL-3.0-or-later
"""From pictures to detections, and from detections to incidents."""
