# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be made to go wrong with a simulated camera, and what that does to the packets it sends."""

from __future__ import annotations

import random
from dataclasses import dataclass

from daemon.simulate.rtp import HEADER_BYTES, INTERLEAVED_BYTES, Burst

COMMANDS = {
    "stall": "keep every connection open, send no media",
    "silent": "stall, and leave RTSP requests unanswered too",
    "drop": "close every connection of the camera once",
    "refuse": "close every connection and answer 503 to new ones",
    "freeze": "send the present picture over and over",
    "black": "send a black picture",
    "corrupt": "VALUE = share of RTP packets whose payload gets flipped bytes",
    "mutate": "VALUE = share of RTP packets of which anything is changed: bits, length, what the length says",
    "loss": "VALUE = share of RTP packets left out",
    "jump": "VALUE = seconds by which the RTP timestamps jump",
    "restart": "new SSRC, sequence number and timestamp base",
    "change": "VALUE = file to play from now on, in its own size and codec settings",
    "resume": "end stall, silent, refuse, freeze, black, corrupt, mutate and loss",
}
FRAGMENT_HEADER_BYTES = 3  # the longest: what is flipped lies behind it, so that the damage is the picture's


@dataclass(slots=True)
class Faults:
    """The faults of one camera that last until `resume`."""

    stalled: bool = False
    silent: bool = False
    refusing: bool = False
    corrupt: float = 0.0  # share of packets
    mutate: float = 0.0  # share of packets
    loss: float = 0.0  # share of packets

    def apply(self, burst: Burst, chance: random.Random) -> tuple[Burst, int, int]:
        """What is left of a picture's packets, how many were left out and how many damaged."""
        corrupted = _corrupt(burst, self.corrupt, chance) if self.corrupt else 0
        if self.mutate:
            burst, mutated = _mutated(burst, self.mutate, chance)
            corrupted += mutated
        kept = _lose(burst, self.loss, chance) if self.loss else burst
        return kept, len(burst.starts) - len(kept.starts), corrupted


def checked_command(name: str, value: object) -> None:
    """Refuses what is not a command, or lacks its value, with what is allowed."""
    if name not in COMMANDS:
        raise ValueError(f"no command {name!r}; there are {', '.join(COMMANDS)}")
    if "VALUE" in COMMANDS[name] and value in (None, ""):
        raise ValueError(f"{name}: {COMMANDS[name]}")


def _corrupt(burst: Burst, share: float, chance: random.Random) -> int:
    count = 0
    for start, end in burst.spans():
        first = start + INTERLEAVED_BYTES + HEADER_BYTES + FRAGMENT_HEADER_BYTES
        if end > first and chance.random() < share:
            count += 1
            for _ in range(chance.randint(1, 8)):
                burst.wire[chance.randrange(first, end)] ^= chance.randint(1, 255)
    return count


def _lose(burst: Burst, share: float, chance: random.Random) -> Burst:
    kept = Burst(bytearray(), [])
    for start, end in burst.spans():
        if chance.random() >= share:
            kept.starts.append(len(kept.wire))
            kept.wire += burst.wire[start:end]
    return kept


def _mutated(burst: Burst, share: float, chance: random.Random) -> tuple[Burst, int]:
    """The packets, some cut, some with flipped bits anywhere in them, some whose stated length is a lie; how many."""
    made, count = Burst(bytearray(), []), 0
    for start, end in burst.spans():
        packet = bytearray(burst.wire[start:end])
        if chance.random() < share:
            count += 1
            match chance.randrange(3):
                case 0:
                    del packet[chance.randrange(INTERLEAVED_BYTES + 1, len(packet)) :]
                    packet[2:INTERLEAVED_BYTES] = (len(packet) - INTERLEAVED_BYTES).to_bytes(2, "big")
                case 1:
                    for _ in range(chance.randint(1, 16)):
                        packet[chance.randrange(INTERLEAVED_BYTES, len(packet))] ^= 1 << chance.randrange(8)
                case 2:
                    packet[2:INTERLEAVED_BYTES] = chance.randrange(1 << 16).to_bytes(2, "big")
        made.starts.append(len(made.wire))
        made.wire += packet
    return made, count
