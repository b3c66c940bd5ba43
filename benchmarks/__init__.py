# SPDX-License-Identifier: AGPL-3.0-or-later
"""What Firewitness costs and how fast it is, on this host, beside what one would use instead. `make bench` runs all."""
