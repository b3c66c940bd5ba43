# SPDX-License-Identifier: AGPL-3.0-or-later
"""First layer of POST /fire_detector: bytes of a body → RequestArgument; knows forms and JSON, and no pictures.

Numbers of the JSON body are kept as the text they came as, so that a `req_id` goes back exactly: 1.0 stays 1.0
and an integer of a hundred digits keeps them all.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.http import parse_options_header

from daemon.api import codes
from daemon.api.codes import NO_REQ_ID, Refusal

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 100  # of a form; urllib's own guard against a body of nothing but "&"

# By codec name. An allow-list, since some codecs (punycode, idna) take quadratic time on what a stranger sends.
_CHARSETS = {"utf-8", "ascii", "iso8859-1", "cp1252", "gbk", "gb2312", "gb18030", "utf-16", "utf-16-le", "utf-16-be"}


class _Number(str):
    """A JSON number as the text it came as."""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, names that stand twice included."""


@dataclass(frozen=True, slots=True)
class RequestArgument:
    """What a caller asks: exactly one of `image` (base64, cleaned of prefix and line breaks) and `image_path`.

    `req_id` is JSON text, to be put into the answer as it is.
    """

    req_id: str
    image: bytes | None
    image_path: str | None

    @classmethod
    def from_post_data(cls, content_type: str, body: bytes) -> RequestArgument:
        """Reads a body of one of the two content types; raises Refusal (1001 to 1004, 1008)."""
        kind, options = parse_options_header(content_type)
        if kind.lower() not in (JSON_TYPE, FORM_TYPE):
            raise Refusal(codes.UNREADABLE, f"the Content-Type must be {JSON_TYPE} or {FORM_TYPE}")
        text = _text(body, options.get("charset", "utf-8"))
        is_form = kind.lower() == FORM_TYPE
        fields = _form(text) if is_form else _object(text)
        req_id = _req_id(fields)
        try:
            return cls(req_id, *_picture(_once(fields), is_form))
        except Refusal as refusal:
            refusal.req_id = req_id
            raise


def _text(body: bytes, charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        name = ""
    if name not in _CHARSETS:
        raise Refusal(codes.UNREADABLE, "the charset of the Content-Type is not known here; send UTF-8")
    try:
        return body.decode("utf-8-sig" if name == "utf-8" else name)
    except UnicodeDecodeError as error:
        raise Refusal(codes.UNREADABLE, f"the body is not {name} text (byte {error.start})") from None


def _object(text: str) -> _Pairs:
    try:
        value = json.loads(
            text, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant, object_pairs_hook=_Pairs
        )
    except json.JSONDecodeError as error:
        raise Refusal(codes.UNREADABLE, f"not JSON: {error.msg} (character {error.pos})") from None
    except RecursionError:
        raise Refusal(codes.UNREADABLE, "JSON nested too deeply") from None
    if not isinstance(value, _Pairs):
        raise Refusal(codes.UNREADABLE, 'the JSON must be an object such as {"req_id": "1", "image": "…"}')
    return value


def _no_constant(name: str) -> Any:
    raise Refusal(codes.UNREADABLE, f"not JSON: {name} is no JSON value")


def _form(text: str) -> _Pairs:
    try:
        fields = _Pairs(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))
    except ValueError:  # UnicodeDecodeError is one
        raise Refusal(codes.UNREADABLE, "not a form: broken escapes, or too many fields") from None
    if text.lstrip().startswith("{") and not {"image", "image_path"} & {name for name, _ in fields}:
        # what `curl -d '{…}'` does, and the sentence about a missing image would send its user astray
        raise Refusal(codes.UNREADABLE, f"the body looks like JSON; send it with Content-Type: {JSON_TYPE}")
    return fields


def _req_id(fields: _Pairs) -> str:
    found = [value for name, value in fields if name == "req_id"]
    if not found:
        return NO_REQ_ID
    if len(found) > 1 or isinstance(found[0], (_Pairs, list)):
        raise Refusal(codes.UNREADABLE, "req_id must be one JSON scalar")
    value = found[0]
    return str(value) if isinstance(value, _Number) else json.dumps(value)


def _once(fields: _Pairs) -> dict[str, Any]:
    """The fields by name. RFC 8259 leaves open what a name given twice means, so it is refused."""
    by_name = dict(fields)
    if len(by_name) != len(fields):
        twice = sorted({name for name, _ in fields if sum(name == other for other, _ in fields) > 1})
        raise Refusal(codes.UNREADABLE, f"given twice: {', '.join(twice)[:200]}")
    return by_name


def _picture(fields: dict[str, Any], is_form: bool) -> tuple[bytes | None, str | None]:
    """(image, image_path), exactly one of them; null and the empty text count as not given."""
    image, path = (fields.get(name) for name in ("image", "image_path"))
    has_image, has_path = (value is not None and value != "" for value in (image, path))
    if has_image and has_path:
        raise Refusal(codes.TWO_IMAGES)
    if has_image:
        return _base64(image, is_form), None
    if not has_path:
        raise Refusal(codes.NO_IMAGE)
    if not isinstance(path, str) or isinstance(path, _Number):
        raise Refusal(codes.BAD_PATH)
    return None, path


def _base64(image: Any, is_form: bool) -> bytes:
    """The base64 text itself: without data-URL prefix (RFC 2397) and line breaks; not decoded yet."""
    if not isinstance(image, str) or isinstance(image, _Number):
        raise Refusal(codes.BAD_BASE64, "image must be a text")
    text: str = image
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise Refusal(codes.BAD_BASE64, "a data URL must say ;base64,")
    try:
        data = text.encode("ascii")
    except UnicodeEncodeError:
        raise Refusal(codes.BAD_BASE64) from None
    if is_form:  # a form's "+" arrives as a space when the caller did not escape it
        data = data.replace(b" ", b"+")
    return data.translate(None, b"\r\n")
