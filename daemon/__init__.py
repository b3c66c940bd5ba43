# SPDX-License-Identifier: AGPL-3.0-or-later
"""Firewitness watches fixed cameras for fire and smoke and keeps evidence that can be trusted."""

__version__ = "0.1.0"
