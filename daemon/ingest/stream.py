# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opens a camera's RTSP stream with time-outs that fire, and says in our words why it could not.

Credentials exist in the address in memory only. FFmpeg's errors repeat the address, so none of their text goes on.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from daemon.errors import CameraError
from daemon.ingest.plan import Credentials, WorkerPlan

DECODABLE = {"h264": "H.264", "hevc": "H.265"}
TIMEOUTS = (av.error.TimeoutError, av.error.ExitError, TimeoutError)  # the second is PyAV's own, from the interrupt
REFUSALS = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)
TIMED_OUT_SHARE = 0.9  # of the time-out: what fails so late failed because of it, whatever FFmpeg says ("Invalid data")
# A key frame comes in one burst: the default of 64 kB loses it. What the kernel allows (net.core.rmem_max) is less.
TRANSPORTS = {"tcp": {"rtsp_transport": "tcp"}, "udp": {"rtsp_transport": "udp", "buffer_size": str(4 << 20)}}
NETWORK = {
    errno.ECONNREFUSED: "nothing listens at its address and port",
    errno.ECONNRESET: "it broke the connection off",
    errno.EHOSTUNREACH: "no host answers at its address",
    errno.ENETUNREACH: "there is no way to its network",
}


class Stream(NamedTuple):
    """An open connection to a camera and its video stream."""

    container: InputContainer
    video: VideoStream


def open_stream(plan: WorkerPlan) -> Stream:
    """Connects; raises CameraError. Both time-outs are needed (design, Time-outs): FFmpeg's does not see a camera that
    trickles bytes, PyAV's own ends what FFmpeg's leaves.
    """
    longest_s = max(plan.open_timeout_s, plan.read_timeout_s)
    began_s = time.monotonic()
    try:
        container = av.open(
            with_credentials(plan.url, plan.credentials),
            options={
                **TRANSPORTS[plan.transport],
                "timeout": str(round(longest_s * 1e6)),
                # Sound would hide that the pictures have stopped, and make FFmpeg take PTS from the camera's clock (RTCP).
                "allowed_media_types": "video",
                # Our decoder finds out what FFmpeg would read a second of pictures for; they reach us as they come.
                "analyzeduration": "1",
                "probesize": "32",
            },
            timeout=(plan.open_timeout_s, plan.read_timeout_s),
        )
    except (av.error.FFmpegError, OSError) as error:
        raise while_opening(error, plan, time.monotonic() - began_s) from None
    try:
        return Stream(container, _video_of(container))
    except CameraError:
        container.close()
        raise


def with_credentials(url: str, credentials: Credentials | None) -> str:
    """The address with user and password, percent-encoded (RFC 3986, 3.2.1)."""
    if credentials is None:
        return url
    parts = urlsplit(url)
    user = f"{quote(credentials.username, safe='')}:{quote(credentials.password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc}"))


def while_opening(error: Exception, plan: WorkerPlan, after_s: float) -> CameraError:
    """Why the camera could not be opened, where that took `after_s`."""
    if isinstance(error, REFUSALS):
        return CameraError("refused", "the camera refuses the credentials")
    return CameraError("unreachable", _what_failed(error, plan, after_s))


def _what_failed(error: Exception, plan: WorkerPlan, after_s: float) -> str:
    if isinstance(error, av.error.HTTPNotFoundError):
        return "the camera has no such stream"
    if isinstance(error, av.error.HTTPServerError):
        return "the camera answers that it cannot serve now"
    if network := NETWORK.get(getattr(error, "errno", None) or 0):
        return f"the camera cannot be reached: {network}"
    if isinstance(error, TIMEOUTS) or after_s >= TIMED_OUT_SHARE * plan.open_timeout_s:
        return f"the camera did not answer within {plan.open_timeout_s:g} s"
    if isinstance(error, OSError) and not _has_known_name(plan):
        return "the camera cannot be reached: its host's name is not known"
    if isinstance(error, av.error.InvalidDataError):
        return "what answers at the camera's address does not speak RTSP, or closed the connection at once"
    return f"the camera cannot be reached ({_kind(error)})"


def _has_known_name(plan: WorkerPlan) -> bool:
    """Whether the host's name resolves: FFmpeg calls that an "Input/output error", like much else."""
    try:
        socket.getaddrinfo(urlsplit(plan.url).hostname, None)
    except socket.gaierror:
        return False
    return True


def while_reading(error: Exception, plan: WorkerPlan) -> CameraError:
    """Why the stream ended; also for a stream that was closed without an error (`EOFError`)."""
    if isinstance(error, TIMEOUTS):
        return CameraError("stalled", f"the camera sent no pictures for {plan.read_timeout_s:g} s")
    if isinstance(error, EOFError):
        return CameraError("unreachable", "the camera closed the connection")
    return CameraError("unreachable", f"the connection broke ({_kind(error)})")


def _video_of(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise CameraError("decode", "the camera sends no video")
    video = container.streams.video[0]
    name = video.codec_context.name
    if name not in DECODABLE:
        raise CameraError("decode", f"the camera sends {name}; it has to send {' or '.join(DECODABLE.values())}")
    return video


def _kind(error: Exception) -> str:
    """What an error is, without its text, which repeats the address."""
    strerror = getattr(error, "strerror", None)
    return str(strerror) if strerror else type(error).__name__
