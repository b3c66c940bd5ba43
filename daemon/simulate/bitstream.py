# SPDX-License-Identifier: AGPL-3.0-or-later
"""What H.264 (RFC 6184) and H.265 (RFC 7798) need to travel in RTP: NAL units and the payloads cut from them.

Sends single NAL unit packets and fragmentation units only; aggregation packets are never needed by a sender.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CLOCK_RATE = 90_000  # RTP ticks a second, for every video payload
MAX_PAYLOAD_BYTES = 1400  # of RTP payload in one packet: fits an Ethernet frame

H264_SPS, H264_PPS, H264_DELIMITER, H264_FU_A = 7, 8, 9, 28
H265_VPS, H265_SPS, H265_PPS, H265_DELIMITER, H265_FU = 32, 33, 34, 35, 49


@dataclass(frozen=True, slots=True)
class Codec:
    """How one codec names its NAL units and cuts them into RTP payloads."""

    name: str  # FFmpeg's
    sdp_name: str
    encoder: str
    annexb_filter: str
    header_bytes: int
    parameter_sets: tuple[int, ...]  # NAL types, in the order in which a decoder needs them
    delimiter: int  # the NAL type that RTP does without

    def nal_type(self, nal: bytes) -> int:
        """The type of a NAL unit: H.264 section 7.3.1, H.265 section 7.3.1.2."""
        return nal[0] & 0x1F if self.name == "h264" else nal[0] >> 1 & 0x3F

    def payloads(self, nal: bytes) -> list[bytes]:
        """The RTP payloads of one NAL unit: itself, or its fragments (RFC 6184 section 5.8, RFC 7798 section 4.4.3)."""
        if len(nal) <= MAX_PAYLOAD_BYTES:
            return [nal]
        if self.name == "h264":
            header = bytes([nal[0] & 0xE0 | H264_FU_A])
        else:
            header = bytes([nal[0] & 0x81 | H265_FU << 1, nal[1]])
        step = MAX_PAYLOAD_BYTES - len(header) - 1
        starts = range(self.header_bytes, len(nal), step)
        kind = self.nal_type(nal)
        return [
            header + bytes([kind | (start == starts[0]) << 7 | (start == starts[-1]) << 6]) + nal[start : start + step]
            for start in starts
        ]

    def format_parameters(self, sets: Mapping[int, Sequence[bytes]]) -> str:
        """The value of the SDP `fmtp` line (RFC 6184 section 8.2.1, RFC 7798 section 7.1)."""

        def encoded(kind: int) -> str:
            return ",".join(base64.b64encode(nal).decode() for nal in sets[kind])

        if self.name == "h264":
            profile = sets[H264_SPS][0][1:4].hex().upper()
            parameters = f"{encoded(H264_SPS)},{encoded(H264_PPS)}"
            return f"packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={parameters}"
        return f"sprop-vps={encoded(H265_VPS)};sprop-sps={encoded(H265_SPS)};sprop-pps={encoded(H265_PPS)}"


CODECS = {
    codec.name: codec
    for codec in (
        Codec("h264", "H264", "libx264", "h264_mp4toannexb", 1, (H264_SPS, H264_PPS), H264_DELIMITER),
        Codec("hevc", "H265", "libx265", "hevc_mp4toannexb", 2, (H265_VPS, H265_SPS, H265_PPS), H265_DELIMITER),
    )
}


def split_annexb(data: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream (none of them ends in a zero byte, so trailing zeros are padding)."""
    pieces = re.split(b"\x00\x00\x01", data)[1:]
    return [nal for nal in (piece.rstrip(b"\x00") for piece in pieces) if nal]
