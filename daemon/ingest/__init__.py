# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a camera's RTSP stream to frames with a time, and the stills that are worth keeping."""
