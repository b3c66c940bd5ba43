# SPDX-License-Identifier: AGPL-3.0-or-later
"""NAL units survive their way through RTP, read back by a receiver written from the RFCs alone."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.simulate.bitstream import CODECS, MAX_PAYLOAD_BYTES, split_annexb
from daemon.simulate.rtp import AccessUnit, Sent, interleaved, lay_out, sender_report


def reassembled(codec: str, payloads: list[bytes]) -> list[bytes]:
    """NAL units from RTP payloads: RFC 6184 section 5.8, RFC 7798 section 4.4.3."""
    nals: list[bytes] = []
    for payload in payloads:
        if codec == "h264" and payload[0] & 0x1F == 28:
            head, header = payload[1], bytes([payload[0] & 0xE0 | payload[1] & 0x1F])
            body = payload[2:]
        elif codec == "hevc" and payload[0] >> 1 & 0x3F == 49:
            head, header = payload[2], bytes([payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1]])
            body = payload[3:]
        else:
            nals.append(payload)
            continue
        if head & 0x80:
            nals.append(header)
        nals[-1] += body
    return nals


def nal_units(codec: str) -> st.SearchStrategy[bytes]:
    """NAL units of types that a sender may meet, of sizes around the borders of one packet and of several."""
    kinds = st.integers(1, 23) if codec == "h264" else st.integers(0, 40)
    sizes = st.one_of(
        st.integers(1, 60),
        st.integers(MAX_PAYLOAD_BYTES - 4, MAX_PAYLOAD_BYTES + 4),
        st.integers(2 * MAX_PAYLOAD_BYTES - 8, 2 * MAX_PAYLOAD_BYTES + 8),
        st.integers(1, 9000),
    )

    def build(kind: int, importance: int, size: int, seed: int) -> bytes:
        head = bytes([importance << 5 | kind]) if codec == "h264" else bytes([kind << 1 | importance & 1, seed % 7 + 1])
        return head + bytes((seed + 7 * place) % 251 for place in range(size))

    return st.builds(build, kinds, st.integers(0, 3), sizes, st.integers(0, 250))


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@given(data=st.data())
def test_payloads_round_trip(codec: str, data: st.DataObject) -> None:
    """Whatever the sizes, the receiver gets the same NAL units; no payload is too big, no fragment alone."""
    nals = data.draw(st.lists(nal_units(codec), min_size=1, max_size=4))
    groups = [CODECS[codec].payloads(nal) for nal in nals]
    payloads = [payload for group in groups for payload in group]
    assert reassembled(codec, payloads) == nals
    assert max(map(len, payloads)) <= MAX_PAYLOAD_BYTES
    place = 1 if codec == "h264" else 2
    for group in groups:
        if len(group) > 1:
            flags = [payload[place] >> 6 for payload in group]
            assert flags == [2, *[0] * (len(group) - 2), 1], "start on the first, end on the last, nothing between"


@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda body: b"\x41" + body.replace(b"\0", b"\1")), max_size=6))
def test_annexb_is_split_at_start_codes(nals: list[bytes]) -> None:
    """Long and short start codes and padding between NAL units make no difference."""
    stream = b"".join(b"\0" * (place % 3) + b"\0\0\1" + nal for place, nal in enumerate(nals))
    assert split_annexb(stream + b"\0\0") == nals


@given(st.lists(st.binary(min_size=1, max_size=1400), min_size=1, max_size=5), st.integers(0, 0xFFFF))
def test_a_stamped_picture_is_rtp(payloads: list[bytes], sequence: int) -> None:
    """Sequence numbers run on and wrap, timestamp and SSRC are the same in all packets, the marker only in the last."""
    wire, starts = lay_out(payloads)
    burst = AccessUnit(0, True, 0, 0, wire, starts).stamped(sequence, 0xFFFFFFFE, 0x01020304)
    packets = [bytes(burst.wire[start:end]) for start, end in burst.spans()]
    assert burst.on_channel(6)[1] == 6
    for place, (packet, payload) in enumerate(zip(packets, payloads, strict=True)):
        dollar, channel, size, first, kind, number, timestamp, ssrc = struct.unpack(">cBHBBHII", packet[:16])
        assert (dollar, channel, size, first) == (b"$", 0, len(payload) + 12, 0x80)
        assert (number, timestamp, ssrc) == ((sequence + place) & 0xFFFF, 0xFFFFFFFE, 0x01020304)
        assert kind == (0xE0 if place == len(payloads) - 1 else 0x60)
        assert packet[16:] == payload
    assert all(later > earlier for earlier, later in pairwise(burst.starts))


@pytest.mark.parametrize("name", ["hall", "a", "abc", "ab", "x" * 300])
def test_a_sender_report_is_a_whole_compound_packet(name: str) -> None:
    """Both packets name their own length in words, the time is NTP's, and the CNAME item ends with a zero."""
    report = sender_report(Sent(7, 2**32 + 3, 12), 1_800_000_000.25, 2**32 + 5, name)
    first, kind, words, ssrc, seconds, fraction, rtp, packets, _ = struct.unpack(">BBHIIIIII", report[:28])
    assert (first, kind, words, ssrc) == (0x80, 200, 6, 7)
    assert (seconds, fraction >> 30, rtp, packets) == (1_800_000_000 + 2_208_988_800, 1, 5, 3)
    first, kind, words = struct.unpack(">BBH", report[28:32])
    assert (first, kind, 28 + 4 * (words + 1)) == (0x81, 202, len(report))
    assert report.endswith(b"\0")
    assert interleaved(3, report)[:4] == struct.pack(">cBH", b"$", 3, len(report))
