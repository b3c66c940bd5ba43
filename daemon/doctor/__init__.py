# SPDX-License-Identifier: AGPL-3.0-or-later
"""Is this host fit for these settings: facts are gathered, judged by pure functions, and each finding says what to do."""
