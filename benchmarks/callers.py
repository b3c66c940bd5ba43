# SPDX-License-Identifier: AGPL-3.0-or-later
"""Concurrent callers of POST /fire_detector, in a process of their own: `python -m benchmarks.callers URL COUNT SECONDS PICTURE`.

Each asks again as soon as it is answered; one that is told "overloaded" waits as long as the answer's Retry-After says. Prints one
JSON object: the seconds of each answered question, of each refusal, and how many ended otherwise.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

WARM_UP_S = 2.0
PATIENCE_S = 30.0
OVERLOADED = 1010


class Callers:
    """What came of all questions asked after the warm-up."""

    def __init__(self, url: str, picture: bytes) -> None:
        self._at = urlsplit(url)
        self._body = json.dumps({"req_id": 1, "image": base64.b64encode(picture).decode()}).encode()
        self._lock = threading.Lock()
        self._from_s = self._until_s = 0.0
        self.found: dict[str, Any] = {"answered_s": [], "refused_s": [], "failed": []}

    def run(self, count: int, seconds: float) -> dict[str, Any]:
        self._from_s = time.monotonic() + WARM_UP_S
        self._until_s = self._from_s + seconds
        threads = [threading.Thread(target=self._call) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {**self.found, "seconds": seconds}

    def _call(self) -> None:
        connection = http.client.HTTPConnection(self._at.hostname or "", self._at.port, timeout=PATIENCE_S)
        while (began_s := time.monotonic()) < self._until_s:
            pause_s = 0.0
            try:
                connection.request("POST", self._at.path, self._body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                code = json.loads(answer.read())["err_no"]
                pause_s = float(answer.headers.get("Retry-After", 0))
                kind = {0: "answered_s", OVERLOADED: "refused_s"}.get(code, "failed")
                self._note(kind, began_s, f"err_no {code}")
            except (OSError, ValueError, http.client.HTTPException) as error:
                connection.close()
                self._note("failed", began_s, type(error).__name__)
            if pause_s:
                connection.close()  # the service would, meanwhile
                time.sleep(pause_s)
        connection.close()

    def _note(self, kind: str, began_s: float, why: str) -> None:
        ended_s = time.monotonic()
        with self._lock:
            if kind == "answered_s" and not self._from_s <= ended_s < self._until_s:
                return  # the rate counts what was answered within the interval
            self.found[kind].append(why if kind == "failed" else ended_s - began_s)


def main() -> None:
    url, count, seconds, picture = sys.argv[1:]
    print(json.dumps(Callers(url, Path(picture).read_bytes()).run(int(count), float(seconds))))


if __name__ == "__main__":
    main()
