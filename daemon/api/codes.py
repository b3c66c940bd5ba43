# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one table of codes that POST /fire_detector answers with; docs/error-codes.md is made from it.

`python -m daemon.api.codes > docs/error-codes.md` makes the page; a test fails when it is stale.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from daemon.errors import FirewitnessError

NO_REQ_ID = '""'


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table. `status` is the HTTP status; `sentence` begins `err_msg`."""

    number: int
    status: int
    sentence: str
    meaning: str


SUCCESS = Code(0, 200, "success", "The picture was analysed; `result` holds what was found, which may be nothing.")

UNREADABLE = Code(
    1001, 200, "the request cannot be read",
    "Not a JSON object or an unreadable form: broken JSON, a name given twice, a `req_id` that is an object or an "
    "array, another `Content-Type` than the two allowed, or a body that ended early.",
)  # fmt: skip
NO_IMAGE = Code(1002, 200, "no image", "Neither `image` nor `image_path`; null and the empty text count as not given.")
TWO_IMAGES = Code(1003, 200, "both image and image_path", "Exactly one of the two may be given.")
BAD_BASE64 = Code(
    1004, 200, "image is not base64",
    "Standard alphabet with padding (RFC 4648, section 4); line breaks and a data-URL prefix are tolerated, all else is not. "
    "Also: `image` is not a text.",
)  # fmt: skip
NOT_AN_IMAGE = Code(
    1005, 200, "not an image of an allowed kind",
    "Allowed are JPEG, PNG, BMP and WebP, whole and decodable; told by content, not by name.",
)  # fmt: skip
TOO_MANY_BYTES = Code(
    1006, 413, "too many bytes",
    "The picture is larger than `api.max_upload`, or the body larger than such a picture can make it. The body was not "
    "read to its end then, and `req_id` is empty.",
)  # fmt: skip
TOO_MANY_PIXELS = Code(1007, 200, "too many pixels", "Width × height is above `api.max_pixels`; no pixel was decoded.")
BAD_PATH = Code(
    1008, 200, "path not allowed or not found",
    "`image_path` is not an absolute path of a regular, readable file below one of `api.image_roots`, reached without a "
    "symbolic link. One answer for all, so that nobody can feel out which files exist.",
)  # fmt: skip
NOT_READY = Code(
    1009, 503, "the detector is not ready",
    "It is loading its model or being restarted. Ask again in some seconds; `/readyz` tells when.",
)  # fmt: skip
OVERLOADED = Code(
    1010, 503, "overloaded",
    "The picture could not be answered within `api.deadline`, so it was refused at once. Ask again later, and less often.",
)  # fmt: skip
NOT_AUTHORISED = Code(
    1011, 401, "not authorised", "Not used before there are users. HTTP status 401, or 403 for a known user."
)
NO_SUCH_METHOD = Code(1012, 405, "no such method", "This URL takes POST only.")

INFERENCE_FAILED = Code(
    2001, 200, "inference failed", "The detector took the picture and failed on it; its log says why."
)
UNKNOWN = Code(9999, 200, "unknown error", "A fault of Firewitness; its log says more.")

SERVICE = (
    UNREADABLE, NO_IMAGE, TWO_IMAGES, BAD_BASE64, NOT_AN_IMAGE, TOO_MANY_BYTES, TOO_MANY_PIXELS, BAD_PATH,
    NOT_READY, OVERLOADED, NOT_AUTHORISED, NO_SUCH_METHOD,
)  # fmt: skip
ALGORITHM = (INFERENCE_FAILED,)
ALL = (SUCCESS, *SERVICE, *ALGORITHM, UNKNOWN)


class Refusal(FirewitnessError):
    """A request is answered with this code instead of a result; `req_id` is JSON text, as far as it was read."""

    def __init__(self, code: Code, detail: str = "", req_id: str = NO_REQ_ID) -> None:
        super().__init__(f"{code.sentence}: {detail}" if detail else code.sentence)
        self.code = code
        self.req_id = req_id


_HEAD = """\
# Error codes of `POST /fire_detector`

<!-- Made from daemon/api/codes.py by `python -m daemon.api.codes > docs/error-codes.md`; do not edit. -->

Every answer of this URL is the envelope `{"req_id", "err_no", "err_msg", "result"}`. `err_msg` begins with the sentence below; what
follows a colon is for people and may change. `result` is null unless `err_no` is 0. [docs/api.md](api.md) has the rest.
"""


def page() -> str:
    """docs/error-codes.md."""
    parts = [
        ("Success", (SUCCESS,)),
        ("Service: the request", SERVICE),
        ("Algorithm: the model", ALGORITHM),
        ("Other", (UNKNOWN,)),
    ]
    tables = [
        f"## {title}\n\n| err_no | HTTP | err_msg | meaning |\n| --- | --- | --- | --- |\n"
        + "".join(f"| {code.number} | {code.status} | {code.sentence} | {code.meaning} |\n" for code in codes)
        for title, codes in parts
    ]
    return "\n".join([_HEAD, *tables])


if __name__ == "__main__":
    sys.stdout.write(page())
