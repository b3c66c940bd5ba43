# SPDX-License-Identifier: AGPL-3.0-or-later
"""RequestArgument: what counts as a readable request, and a req_id that goes back exactly."""

from __future__ import annotations

import base64
import binascii
import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.api import codes
from daemon.api.arguments import FORM_TYPE, JSON_TYPE, RequestArgument
from daemon.api.codes import Code, Refusal

BYTES = bytes(range(256)) * 3
BASE64 = base64.b64encode(BYTES).decode()


def from_json(value: object, content_type: str = JSON_TYPE) -> RequestArgument:
    text = value if isinstance(value, str) else json.dumps(value)
    return RequestArgument.from_post_data(content_type, text.encode())


def from_form(text: str) -> RequestArgument:
    return RequestArgument.from_post_data(FORM_TYPE, text.encode())


def refused(content_type: str, body: str | bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        RequestArgument.from_post_data(content_type, body if isinstance(body, bytes) else body.encode())
    return caught.value


@pytest.mark.parametrize(
    "literal",
    ['"abc"', '""', "0", "-0", "1.0", "1.10", "1e400", "12345678901234567890123", "9" * 6000, "true", "false", "null",
     r'"\ud800"', '"é \\" \\\\ \\u0000"'],
)  # fmt: skip
def test_req_id_goes_back_exactly(literal: str) -> None:
    """Any JSON scalar: numbers by their digits, texts by their value."""
    req_id = from_json(f'{{"req_id": {literal}, "image": "AAAA"}}').req_id
    if literal.startswith('"'):
        assert json.loads(req_id) == json.loads(literal)
    else:
        assert req_id == literal


@given(st.text())
@settings(deadline=None)
def test_req_id_of_a_form_goes_back(text: str) -> None:
    """A form has only texts; spaces of a req_id stay spaces."""
    asked = from_form(urlencode({"req_id": text, "image": BASE64}))
    assert json.loads(asked.req_id) == text


def test_absent_req_id_is_the_empty_text() -> None:
    """As the envelope promises."""
    assert from_json({"image": BASE64}).req_id == '""'


@pytest.mark.parametrize("value", [[], {}, ["a"], {"a": 1}])
def test_req_id_must_be_a_scalar(value: object) -> None:
    """An object or an array is refused, and not echoed."""
    refusal = refused(JSON_TYPE, json.dumps({"req_id": value, "image": BASE64}))
    assert (refusal.code, refusal.req_id) == (codes.UNREADABLE, '""')


@pytest.mark.parametrize("content_type", [
    "application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
    "application/json; charset=gbk", "application/json; charset=iso-8859-1; version=2",
])  # fmt: skip
def test_parameters_of_the_content_type_are_tolerated(content_type: str) -> None:
    """Charset and anything else."""
    assert from_json({"image": BASE64}, content_type).image == BASE64.encode()


def test_charset_is_heeded() -> None:
    """A req_id in the caller's own charset is read as it was written."""
    body = '{"req_id": "火", "image": "AAAA"}'.encode("gb18030")
    assert json.loads(RequestArgument.from_post_data("application/json; charset=gb18030", body).req_id) == "火"


@pytest.mark.parametrize("content_type", [
    "", "text/plain", "multipart/form-data; boundary=x", "application/jsonx", "image/jpeg", "application/json; charset=punycode",
    "application/json; charset=base64", "application/json; charset=no-such", "\xff\xfe",
])  # fmt: skip
def test_other_content_types_are_unreadable(content_type: str) -> None:
    """One of two, in a charset that is safe to decode."""
    assert refused(content_type, json.dumps({"req_id": 1, "image": BASE64})).code is codes.UNREADABLE


@pytest.mark.parametrize("body", [
    "", "{", "[]", "1", '"image"', "null", "NaN", '{"image": NaN}', '{"req_id": Infinity}', "{'image': 1}", "[" * 100_000,
    '{"a":' * 100_000, '{"image": "A"} x', b"\xff\xfe{}", b'{"req_id": "\xe9"}', '{"image": "A", "image": "B"}', '{"x": 1, "x": 1}',
])  # fmt: skip
def test_what_is_no_json_object_is_unreadable(body: str | bytes) -> None:
    """Broken, of another type, too deep, in a wrong charset, or with a name given twice."""
    assert refused(JSON_TYPE, body).code is codes.UNREADABLE


@pytest.mark.parametrize("body", ["req_id=%ff&image=AAAA", "&".join(f"a{i}=1" for i in range(200)), "image=A&image=B"])
def test_unreadable_forms(body: str) -> None:
    """Escapes that are no UTF-8, too many fields, a field twice."""
    assert refused(FORM_TYPE, body).code is codes.UNREADABLE


def test_a_known_req_id_goes_back_with_a_name_given_twice() -> None:
    """Only what could not be read is missing from the answer."""
    assert refused(JSON_TYPE, '{"req_id": 7, "image": "A", "image": "B"}').req_id == "7"


def test_json_sent_as_a_form_is_told_so() -> None:
    """What `curl -d` does by default; "no image" would send its user astray."""
    refusal = refused(FORM_TYPE, json.dumps({"image": BASE64}))
    assert refusal.code is codes.UNREADABLE
    assert "application/json" in str(refusal)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, codes.NO_IMAGE),
        ({"image": None}, codes.NO_IMAGE),
        ({"image": "", "image_path": None}, codes.NO_IMAGE),
        ({"image": BASE64, "image_path": "/a"}, codes.TWO_IMAGES),
        ({"image": 5}, codes.BAD_BASE64),
        ({"image": ["AAAA"]}, codes.BAD_BASE64),
        ({"image": {"a": 1}}, codes.BAD_BASE64),
        ({"image": False}, codes.BAD_BASE64),
        ({"image": "Ä"}, codes.BAD_BASE64),
        ({"image": "data:image/png,AAAA"}, codes.BAD_BASE64),
        ({"image": "data:image/png;base64"}, codes.BAD_BASE64),
        ({"image_path": 5}, codes.BAD_PATH),
        ({"image_path": ["/a"]}, codes.BAD_PATH),
    ],
)
def test_each_mistake_has_its_code_and_the_req_id(fields: dict[str, object], code: Code) -> None:
    """Null and the empty text count as not given; the req_id goes back with every refusal."""
    refusal = refused(JSON_TYPE, json.dumps({"req_id": "r", **fields}))
    assert (refusal.code, refusal.req_id) == (code, '"r"')


def test_image_and_an_empty_path_is_an_image() -> None:
    """Forms send empty fields."""
    assert from_form(f"image={quote(BASE64)}&image_path=").image_path is None


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,", "data:;base64,", "DATA:image/png;charset=x;BASE64,"])
@pytest.mark.parametrize("newline", ["", "\n", "\r\n"])
def test_prefix_and_line_breaks_are_tolerated(prefix: str, newline: str) -> None:
    """What the usual encoders make: MIME lines of 76, data URLs."""
    lines = newline.join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)) + newline
    assert from_json({"image": prefix + lines}).image == BASE64.encode()


@given(st.binary(min_size=1, max_size=400), st.booleans())
@settings(deadline=None)
def test_a_forms_plus_survives(data: bytes, escaped: bool) -> None:
    """Base64 in a form arrives whole, whether the caller escaped its + or not."""
    text = base64.b64encode(data).decode()
    asked = from_form("image=" + (quote(text, safe="") if escaped else text))
    assert asked.image is not None
    assert binascii.a2b_base64(asked.image, strict_mode=True) == data


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_body_surprises(body: bytes) -> None:
    """Any bytes, as either type: a RequestArgument or a Refusal."""
    for content_type in (JSON_TYPE, FORM_TYPE):
        try:
            RequestArgument.from_post_data(content_type, body)
        except Refusal:
            pass
