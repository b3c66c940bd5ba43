# SPDX-License-Identifier: AGPL-3.0-or-later
"""What fixed cameras do to a picture, and what burns in front of them: numpy and OpenCV, no torch.

Each module changes a View in one respect and keeps its boxes true; all chance comes from the generator that is given.
"""
