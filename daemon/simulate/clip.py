# SPDX-License-Identifier: AGPL-3.0-or-later
"""A video file as a camera sends it: its access units in decoding order, in RTP packets, without transcoding."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from daemon.simulate.bitstream import CLOCK_RATE, CODECS, Codec, split_annexb
from daemon.simulate.rtp import PAYLOAD_TYPE, AccessUnit, lay_out


@dataclass(frozen=True, slots=True)
class Clip:
    """All of one file's coded pictures; times are RTP ticks from the first access unit's decoding time."""

    path: Path
    codec: Codec
    width_px: int
    height_px: int
    rate: Fraction  # pictures a second
    parameter_sets: dict[int, list[bytes]]
    units: list[AccessUnit]
    begin: int  # the first decoding time, in the file's own time base
    time_base: Fraction  # seconds

    @property
    def duration_ticks(self) -> int:
        """One pass of the clip, until its first picture is due again."""
        return self.units[-1].decode_ticks + round(CLOCK_RATE / self.rate)

    @property
    def gop_frames(self) -> int:
        """Pictures from the first key frame to the second."""
        keys = [place for place, unit in enumerate(self.units) if unit.key]
        return keys[1] - keys[0] if len(keys) > 1 else len(self.units)

    def description(self, name: str) -> str:
        """The SDP (RFC 4566) of a camera that plays this clip."""
        lines = [
            "v=0",
            f"o=- {zlib.crc32(name.encode())} 1 IN IP4 127.0.0.1",
            f"s={name}",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            "a=range:npt=now-",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} {self.codec.sdp_name}/{CLOCK_RATE}",
            f"a=fmtp:{PAYLOAD_TYPE} {self.codec.format_parameters(self.parameter_sets)}",
            f"a=framerate:{float(self.rate):g}",
            "a=control:track0",
            "",
        ]
        return "\r\n".join(lines)

    def picture(self, frame: int) -> av.VideoFrame:
        """One picture, decoded, by its place in display order."""
        ticks = next(unit.display_ticks for unit in self.units if unit.frame == frame)
        wanted = self.begin + round(Fraction(ticks, CLOCK_RATE) / self.time_base)
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            container.seek(wanted, stream=stream, backward=True)
            for picture in container.decode(stream):
                if picture.pts is None or picture.pts >= wanted:
                    return picture
        raise ValueError(f"{self.path} has no picture {frame} that can be decoded")


def read_clip(path: Path) -> Clip:
    """Reads a whole file; H.264 or H.265 in anything that FFmpeg opens."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = CODECS[stream.codec_context.name]
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        packets = list(_annexb_packets(container, stream, codec, rate))
        time_base = Fraction(stream.time_base or Fraction(1, CLOCK_RATE))
        width, height = stream.width, stream.height
    sets: dict[int, list[bytes]] = {kind: [] for kind in codec.parameter_sets}
    bodies = [_nal_units(codec, packet, sets) for packet in packets]
    begin = packets[0].dts or 0
    order = sorted(range(len(packets)), key=lambda place: packets[place].pts or 0)
    frames = {place: frame for frame, place in enumerate(order)}
    units = []
    for place, (packet, nals) in enumerate(zip(packets, bodies, strict=True)):
        wire, starts = lay_out([payload for nal in nals for payload in codec.payloads(nal)])
        decode, display = (round(((at or 0) - begin) * time_base * CLOCK_RATE) for at in (packet.dts, packet.pts))
        units.append(AccessUnit(frames[place], packet.is_keyframe, decode, display, wire, starts))
    return Clip(path, codec, width, height, rate, sets, units, begin, time_base)


def _annexb_packets(
    container: av.container.InputContainer, stream: av.VideoStream, codec: Codec, rate: Fraction
) -> Iterator[av.Packet[av.VideoStream]]:
    filters = BitStreamFilterContext(codec.annexb_filter, stream)
    step = round(1 / (rate * Fraction(stream.time_base or Fraction(1, CLOCK_RATE))))
    previous: int | None = None
    for packet in container.demux(stream):
        for out in filters.filter(packet if packet.size else None):
            if out.dts is None:  # raw streams carry no times
                out.dts = 0 if previous is None else previous + step
            if out.pts is None:
                out.pts = out.dts
            previous = out.dts
            yield out


def _nal_units(codec: Codec, packet: av.Packet[av.VideoStream], sets: dict[int, list[bytes]]) -> list[bytes]:
    """The NAL units of one picture; `sets` learns the parameter sets, and every key frame is given all of them."""
    nals = [nal for nal in split_annexb(bytes(packet)) if codec.nal_type(nal) != codec.delimiter]
    for nal in nals:
        known = sets.get(codec.nal_type(nal))
        if known is not None and nal not in known:
            known.append(nal)
    if packet.is_keyframe:
        present = {codec.nal_type(nal) for nal in nals}
        nals = [nal for kind in codec.parameter_sets if kind not in present for nal in sets[kind]] + nals
    return nals
