# SPDX-License-Identifier: AGPL-3.0-or-later
"""The least that watching a camera can cost: demux, keep a ring of 60 s, decode key frames; nothing else.

python benchmarks/floor.py rtsp://127.0.0.1:8554/hall 60 → CPU-seconds per camera-minute over that many seconds.
"""

import sys
import time
from collections import deque

import av

url, seconds = sys.argv[1], float(sys.argv[2])
container = av.open(url, options={"rtsp_transport": "tcp", "timeout": "5000000"}, timeout=(5, 5))
stream = container.streams.video[0]
stream.codec_context.thread_count = 1
ring: deque[tuple[float, bytes]] = deque()
start, cpu = time.monotonic(), time.process_time()
for packet in container.demux(stream):
    now = time.monotonic()
    ring.append((now, bytes(packet)))
    while ring[0][0] < now - 60:
        ring.popleft()
    if packet.is_keyframe:
        packet.decode()
    if now > start + seconds:
        break
print(f"{(time.process_time() - cpu) * 60 / (now - start):.3f}")
