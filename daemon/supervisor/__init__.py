# SPDX-License-Identifier: AGPL-3.0-or-later
"""Starts the processes, keeps them alive, routes commands and ends everything in order; it holds no evidence itself."""
