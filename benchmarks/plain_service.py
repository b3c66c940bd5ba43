# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one would write in an afternoon: a Flask route around the same detector, one picture at a time.

    python -m benchmarks.plain_service PORT single|threads

`benchmarks.plain_service:app` under gunicorn's sync workers is the third way: processes, each with a detector of its own.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from flask import Flask, Response, request

from benchmarks.detector import FLOOR, INPUT_PX
from daemon.detect.detector import FireDetector

app = Flask("plain")
_owner = ThreadPoolExecutor(1)  # a network is not shared between threads


def _load() -> FireDetector:
    detector = FireDetector(input_px=INPUT_PX, batch=1, closer=True)
    detector.warm()
    return detector


_detector = _owner.submit(_load).result()


@app.post("/fire_detector")
def fire_detector() -> Response:
    began_s = time.monotonic()
    asked: Any = request.get_json()
    image: Any = cv2.imdecode(np.frombuffer(base64.b64decode(asked["image"]), np.uint8), cv2.IMREAD_COLOR)
    (found,) = _owner.submit(_detector.detect, [image], FLOOR).result()
    result = [{"label": each.label, "confidence": each.confidence, "box": each.box} for each in found]
    elapsed_ms = (time.monotonic() - began_s) * 1000
    body = {"req_id": asked["req_id"], "err_no": 0, "err_msg": "success",
            "result": {"detections": result, "elapsed_ms": elapsed_ms}}  # fmt: skip
    return Response(json.dumps(body), content_type="application/json")


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), threaded=sys.argv[2] == "threads", debug=False)
