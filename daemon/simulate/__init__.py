# SPDX-License-Identifier: AGPL-3.0-or-later
"""A drawn fire before a real RTSP server: the camera of those who have none, and of the tests."""
