# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips: a camera's own bitstream in fragmented MP4, written, read back and decoded."""
