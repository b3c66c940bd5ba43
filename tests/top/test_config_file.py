# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every mistake in config.yaml becomes one sentence with key, line and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon import shipped
from daemon.commands.folders import check, lacking, prepare
from daemon.config_file import load, read
from daemon.errors import FirewitnessError, SettingsError
from daemon.secrets import password_of
from daemon.settings import Settings

HALL = "cameras:\n  hall:\n    url: rtsp://10.0.0.21/stream1\n"
VIEWED = HALL + "    components_view: hall.jpg\n    components:\n"
LEAST = min(shipped.FIRE, shipped.SMOKE)


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(write(folder, text))
    return str(caught.value).replace(str(folder / "config.yaml"), "FILE").replace(str(folder), "FOLDER")


def test_the_promised_form_works(tmp_path: Path) -> None:
    """The form that the issue promises to keep is read as it says."""
    text = HALL + "storage:\n  root: /srv/firewitness\napi:\n  host: 127.0.0.1\n  port: 2222\n"
    settings = load(write(tmp_path, text))
    assert settings.cameras["hall"].url == "rtsp://10.0.0.21/stream1"
    assert settings.storage.root == Path("/srv/firewitness")
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 2222)


def test_the_shipped_file_states_the_defaults(tmp_path: Path) -> None:
    """config.yaml in the checkout shows every key with its true default."""
    shipped = load(Path(__file__).parents[2] / "config.yaml").model_dump()
    empty = load(write(tmp_path, "")).model_dump()
    for folder in ("root", "state_dir", "runtime_dir"):
        del shipped["storage"][folder], empty["storage"][folder]
    assert shipped == empty


def test_the_largest_sizes_have_a_hash(tmp_path: Path) -> None:
    """What check-config lets pass must not end the recorder, which writes the settings' hash into the ledger."""
    text = "".join(f"  {key}: 9007199254740991\n" for key in ("reserve", "reference_bytes", "sibling_bytes"))
    assert len(load(write(tmp_path, f"storage:\n{text}api:\n  max_pixels: 9007199254740991\n")).sha256()) == 64


def test_every_key_is_in_the_shipped_file() -> None:
    """No key can be set that config.yaml does not explain."""
    text = (Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        keys = getattr(field.annotation, "model_fields", {})
        for key in [name, *keys]:
            assert f"{key}:" in text, f"{name}.{key} is missing in config.yaml"


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    """The daemon may be started from anywhere: the file's folder is what counts."""
    settings = load(write(tmp_path, HALL + "    username: a\n    password_file: secret\n"))
    assert settings.storage.root == tmp_path / "var/store"
    assert settings.storage.state_dir == tmp_path / "var/state"
    assert settings.cameras["hall"].password_file == tmp_path / "secret"


def test_systemd_gives_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under systemd state and sockets lie where the unit says."""
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/firewitness")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/firewitness")
    storage = load(write(tmp_path, "")).storage
    assert storage.state_dir == Path("/var/lib/firewitness")
    assert storage.runtime_dir == Path("/run/firewitness")


def test_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """${NAME} becomes the environment variable's value."""
    monkeypatch.setenv("HALL_PASSWORD", "s3cret: #")
    settings = load(write(tmp_path, HALL + "    username: a\n    password: ${HALL_PASSWORD}\n"))
    password = settings.cameras["hall"].password
    assert password is not None
    assert password.get_secret_value() == "s3cret: #"
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.for_children()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "storag: 1\n",
            "FILE, line 1: storag: there is no such key; allowed are cameras, ingest, detect, incident, storage, api",
        ),
        (
            "api:\n  hosts: 1\n",
            "FILE, line 2: api.hosts: there is no such key; allowed are host, port, threads, image_roots, max_upload, "
            "max_pixels, max_decoding, deadline",
        ),
        (
            "api:\n  host: 10.0.0..5\n",
            "FILE, line 2: api.host: '10.0.0..5' is neither an address nor a host's name, such as 127.0.0.1",
        ),
        ("cameras:\n  hall: {}\n", "FILE, line 2: cameras.hall.url: this key is missing"),
        (
            "cameras:\n  hall:\n    url: http://10.0.0.21/\n",
            "FILE, line 3: cameras.hall.url: write an RTSP address such as rtsp://10.0.0.21/stream1",
        ),
        (
            "cameras:\n  hall:\n    url: rtsp://me:secret@10.0.0.21/\n",
            "FILE, line 3: cameras.hall.url: an address must not hold credentials: give them as the keys username and "
            "password or password_file",
        ),
        (
            HALL + "    password: x\n",
            "FILE, line 2: cameras.hall: a password needs a username",
        ),
        (
            HALL + "  yard:\n    url: rtsp://10.0.0.21/stream1\n",
            "FILE, line 5: cameras.yard.url: the same url as that of hall: each camera is named once",
        ),
        (
            HALL + "    thresholds: {smoke: 0.5, fire: 0.05}\n",
            "FILE, line 4: cameras.hall.thresholds.fire: 0.05 is below detect.floor (0.1), and could never be reached",
        ),
        (HALL + "  hall:\n    url: rtsp://b/\n", "FILE, line 4: cameras.hall: given twice; each name may stand once"),
        (
            "cameras:\n  ../x:\n    url: rtsp://b/\n",
            "FILE, line 2: cameras.../x: no name for a camera: allowed are a-z, 0-9, - and _, at most 63, not beginning "
            "with - or _",
        ),
        (
            "detect:\n  max_interval: 2 weeks\n",
            "FILE, line 2: detect.max_interval: write a number with one of the units ms, s, min, h, d, such as 2 s",
        ),
        (
            "detect:\n  confirm: {m: 6, n: 5}\n",
            "FILE, line 2: detect.confirm: m (6) of n (5) can never be seen: m must not be more than n",
        ),
        (
            "storage:\n  reference_bytes: 10000 TB\n",
            "FILE, line 2: storage.reference_bytes: input should be less than or equal to 9007199254740991",
        ),
        (
            "api:\n  max_pixels: 99999999999999999999\n",
            "FILE, line 2: api.max_pixels: input should be less than or equal to 9007199254740991",
        ),
        ("storage:\n  reserve: .inf\n", "FILE, line 2: storage.reserve: a size must be a finite number of bytes"),
        (
            HALL + "    url2: ${NOT_SET_ANYWHERE}\n",
            "FILE, line 4: the environment variable NOT_SET_ANYWHERE is not set",
        ),
        ("api: {port: 99999}\n", "FILE, line 1: api.port: input should be less than or equal to 65535"),
        (
            "cameras:\n  hall:\n    url: rtsp://10.0.0.21/s?user=a&password=b\n",
            "FILE, line 3: cameras.hall.url: an address must not hold credentials: give them as the keys username and "
            "password or password_file",
        ),
        (HALL + "    username: ''\n", "FILE, line 4: cameras.hall.username: string should have at least 1 character"),
        ("storage: {retention: .inf}\n", "FILE, line 1: storage.retention: input should be a finite number"),
        (
            "storage:\n  retention: 99999999999 d\n",
            "FILE, line 2: storage.retention: input should be less than or equal to 3153600000",
        ),
        (
            "detect:\n  floor: 0.9\n",
            f"FILE, line 1: detect: floor (0.9) is above a threshold ({LEAST:g}), which could then never be reached",
        ),
        (
            "storage:\n  root: s\n  state_dir: s/state\n",
            "FILE, line 3: storage.state_dir: FOLDER/s/state lies in storage.root; give a folder outside of it",
        ),
        ("cameras: &a {h: *a}\n", "FILE, line 1: an alias stands inside what it stands for"),
        ("? [a, b]\n: 1\n", "FILE, line 1: a key must be a plain text"),
        (
            "api:\n  port: !!int abc\n",
            "FILE, line 2: api.port: the tag tag:yaml.org,2002:int cannot be used here; write the value alone",
        ),
        (
            "api:\n  host: !!python/object:os.system x\n",
            "FILE, line 2: api.host: the tag tag:yaml.org,2002:python/object:os.system cannot be used here; write the "
            "value alone",
        ),
        (
            HALL + "    ignore: [{name: (x), polygon: [[0, 0], [1, 0], [1, 1]]}]\n",
            "FILE, line 4: cameras.hall.ignore.0.name: a name must not begin with (: Firewitness marks what it found "
            "itself so",
        ),
        (
            HALL + "    components: [{name: pump, polygon: [[0, 0], [1, 0], [1, 1]]}]\n",
            "FILE, line 2: cameras.hall: components need components_view: the picture of this camera that they were drawn "
            "on, JPEG or PNG",
        ),
        (
            VIEWED + "      - {name: pump, polygon: [[0, 0], [1, 0]]}\n",
            "FILE, line 6: cameras.hall.components.0.polygon: it has 2 parts; at least 3 are allowed",
        ),
        (
            VIEWED + "      - {name: pump, polygon: [[0, 0], [1, 0], [1, 1], [640, 1]]}\n",
            "FILE, line 6: cameras.hall.components.0.polygon.3.0: input should be less than or equal to 1",
        ),
        (
            VIEWED + "      - {name: pump, polygon: [[0, 0], [1, 1], [1, 0], [0, 1]]}\n",
            "FILE, line 6: cameras.hall.components.0.polygon: its sides 1 and 3 cross: give the corners in their order "
            "around it",
        ),
        (
            HALL + "    ignore: [{name: torch, polygon: [[0, 0], [0.5, 0.5], [1, 1]]}]\n",
            "FILE, line 4: cameras.hall.ignore.0.polygon: it has no area: give the corners around it",
        ),
        (
            VIEWED + "      - {name: unnamed area, polygon: [[0, 0], [1, 0], [1, 1]]}\n",
            "FILE, line 6: cameras.hall.components.0.name: unnamed area is what lies in no component: choose another name",
        ),
        (
            VIEWED + 2 * "      - {name: pump, polygon: [[0, 0], [1, 0], [1, 1]]}\n",
            "FILE, line 2: cameras.hall: components: pump is drawn twice; each name may stand once",
        ),
        (
            HALL + "    ignore: [{name: lamp, polygon: [[0, 0], [1, 0], [1, 640]], labels: [flame]}]\n",
            "FILE, line 4: cameras.hall.ignore.0.labels.0: input should be 'fire' or 'smoke'\n"
            "FILE, line 4: cameras.hall.ignore.0.polygon.2.1: input should be less than or equal to 1",
        ),
        (HALL + "    ignore:\n", "FILE, line 4: cameras.hall.ignore: it has no value: give one, or leave the key out"),
        (
            "storage:\n  retention:\n",
            "FILE, line 2: storage.retention: it has no value: give one, or leave the key out",
        ),
        ("cameras:\n  hall:\n", "FILE, line 2: cameras.hall.url: this key is missing"),
        (
            "cameras:\n  - url: rtsp://10.0.0.21/s\n",
            "FILE, line 1: cameras: write names, and the keys of each below its name",
        ),
        (
            "detect:\n  confirm: 3\n",
            "FILE, line 2: detect.confirm: its own keys belong below it: m, n, within",
        ),
        (
            "api:\n  image_roots: /srv\n",
            "FILE, line 2: api.image_roots: write a list, such as [a, b]",
        ),
        (
            HALL + "    username: a\n    password: 0123\n",
            "FILE, line 5: cameras.hall.password: write a text; where YAML would take it for something else, such as 0123 "
            "or no, in quotes",
        ),
        (
            f"detect:\n  weights_sha256: {'A' * 64}\n",
            "FILE, line 2: detect.weights_sha256: write the 64 digits of a SHA-256, from 0-9 and a-f",
        ),
        ("storage:\n  root: ~/store\n", "FILE, line 2: storage.root: ~ is no folder here: write the whole path"),
        (
            'storage:\n  root: "a\\0b"\n',
            "FILE, line 2: storage.root: a character that is no text (U+0000) stands in it",
        ),
        (
            'storage:\n  root: "\\ud800"\n',
            "FILE, line 2: storage.root: a character that is no text (U+D800) stands in it",
        ),
        (
            'cameras:\n  "a\\eb":\n    url: rtsp://10.0.0.21/s\n',
            "FILE, line 2: cameras: a character that is no text (U+001B) stands in it",
        ),
        ("a: " + 2000 * "[" + "\n", "FILE: blocks stand too deeply in each other"),
        (
            "- 1\n",
            "FILE, line 1: the file must be a mapping with the keys cameras, ingest, detect, incident, storage, api",
        ),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """Key, line, and what is allowed."""
    assert refusal(tmp_path, text) == sentence


def test_a_block_of_comments_alone_is_the_default(tmp_path: Path) -> None:
    """Whoever comments out every key of a block leaves its name standing."""
    blocks = "".join(f"{name}:\n  # left out\n" for name in Settings.model_fields)
    assert load(write(tmp_path, blocks + "  \n")) == load(write(tmp_path, ""))


def test_all_mistakes_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Whoever mends the file need not run it once per mistake."""
    told = refusal(tmp_path, "storag: 1\napi:\n  port: -1\ndetect:\n  batch: 0\n").splitlines()
    assert [line.split(":")[0] for line in told] == ["FILE, line 1", "FILE, line 3", "FILE, line 5"]


def _closed(path: Path, encoding: str) -> str:
    raise PermissionError(13, "Permission denied", str(path))


def test_broken_yaml_and_missing_files_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback for a tab, a missing or closed file, or bytes that are no text."""
    assert refusal(tmp_path, "api:\n\tport: 1\n").startswith("FILE, line 2: not valid YAML: ")
    with pytest.raises(SettingsError, match="cannot be read \\(No such file or directory\\)"):
        load(tmp_path / "none.yaml")
    monkeypatch.setattr(Path, "read_text", _closed)
    with pytest.raises(SettingsError, match="cannot be read \\(Permission denied\\); ask with sudo"):
        load(tmp_path / "config.yaml")
    monkeypatch.undo()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8 text"):
        load(tmp_path / "binary.yaml")


def test_a_secret_in_a_bad_file_is_not_repeated(tmp_path: Path) -> None:
    """A sentence about a mistake never quotes a password."""
    told = refusal(
        tmp_path, "cameras:\n  hall:\n    url: rtsp://me:c4nary@h/\n    password: c4nary\n    extra: c4nary\n"
    )
    assert "c4nary" not in told


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("rtsp://admin:12/c4nary@10.0.0.21/s", "an address must not hold credentials"),
        ("rtsp://admin:12#c4nary@10.0.0.21/s", "an address must not hold credentials"),
        ("rtsp://admin:12?c4nary@10.0.0.21/s", "an address must not hold credentials"),
        ("rtsp://admin:c4n/ary@10.0.0.21/s", "an address must not hold credentials"),
        ("rtsp://admin：c4nary@10.0.0.21/s", "write an RTSP address such as"),
        ("rtsp://admin:c4[nary@10.0.0.21/s", "an address must not hold credentials"),
        ("rtsp://10.0.0.21/s ", "an address begins and ends without spaces"),
        (" rtsp://10.0.0.21/s", "an address begins and ends without spaces"),
    ],
)
def test_an_odd_password_in_an_address_is_found_and_not_repeated(tmp_path: Path, address: str, sentence: str) -> None:
    """Where / ? or # cut it off, what is left looks like host, port and path, which all logs would show."""
    told = refusal(tmp_path, f"cameras:\n  hall:\n    url: '{address}'\n")
    assert told.startswith(f"FILE, line 3: cameras.hall.url: {sentence}")
    assert "nary" not in told


@pytest.mark.parametrize("address", ["rtsp://10.0.0.21:554/cam@1", "rtsp://nvr/cam@1", "rtsp://[::1]:554/cam@1"])
def test_an_at_sign_may_stand_in_a_path(tmp_path: Path, address: str) -> None:
    """Behind what can only be a host it is nobody's password."""
    assert load(write(tmp_path, f"cameras:\n  hall:\n    url: '{address}'\n")).cameras["hall"].url == address


def test_folders_and_files_are_tried_before_anything_starts(tmp_path: Path) -> None:
    """A folder that is none, a secret that is missing or unreadable: key, line, and what is wrong; nothing is made."""
    (tmp_path / "file").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    credentials = HALL + "    username: a\n    password_file: {}\n"
    for text, sentence in (
        ("storage:\n  root: file/x\n", "line 2: storage.root: {}/file/x cannot be written by uid "),
        (f"storage:\n  root: {256 * 'x'}\n", f"line 2: storage.root: {{}}/{256 * 'x'} cannot be written by uid "),
        (
            "api:\n  image_roots: [here, there]\n",
            "line 2: api.image_roots.0: {}/here is no folder; name folders that are there",
        ),
        (
            credentials.format("none"),
            "line 5: cameras.hall.password_file: {}/none cannot be read (No such file or directory)",
        ),
        (
            HALL + "    components_view: none.jpg\n",
            "line 4: cameras.hall.components_view: {}/none.jpg cannot be read (No such file or directory); name a still "
            "of this camera",
        ),
        (
            HALL + "    components_view: binary\n",
            "line 4: cameras.hall.components_view: {}/binary is neither JPEG nor PNG; name a still of this camera",
        ),
        (
            "storage: {root: store}\n" + HALL + "    components_view: store/evidence/hall/still.jpg\n",
            "line 5: cameras.hall.components_view: {}/store/evidence/hall/still.jpg lies in storage.root, from where it is "
            "purged one day; name a copy elsewhere",
        ),
        (credentials.format("binary"), "line 5: cameras.hall.password_file: {}/binary is not UTF-8 text (byte 0)"),
        ("storage: {{runtime_dir: {}}}\n".format("x" * 120), "a socket's path may have 107 bytes"),
    ):
        with pytest.raises(FirewitnessError) as caught:
            check(read(write(tmp_path, text)))
        assert sentence.format(tmp_path) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary", "config.yaml", "file"]


def test_what_is_not_the_daemon_s_own_stops_no_start(tmp_path: Path) -> None:
    """After a reboot nobody may be there to mend it: all that is lacking is told, and run goes on; check-config refuses."""
    text = (
        HALL + "    username: a\n    password_file: none\n    components_view: none.jpg\napi:\n  image_roots: [here]\n"
    )
    file = read(write(tmp_path, text))
    with pytest.raises(SettingsError, match="image_roots"):
        check(file)
    prepare(file)
    told = [sentence.partition(": ")[2].partition(":")[0] for sentence in lacking(file)]
    assert told == ["api.image_roots.0", "cameras.hall.password_file", "cameras.hall.components_view"]
    with pytest.raises(SettingsError, match=r"storage\.root"):
        prepare(read(write(tmp_path, "storage:\n  root: config.yaml/x\n")))


def test_a_password_file_loses_its_line_end_alone(tmp_path: Path) -> None:
    """Also one that an editor of another system wrote."""
    (tmp_path / "secret").write_bytes("pass wörd \r\n".encode())
    settings = load(write(tmp_path, HALL + "    username: a\n    password_file: secret\n"))
    assert password_of(settings.cameras["hall"], "here") == "pass wörd "


def test_a_password_can_come_from_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LoadCredential= puts it into a folder that only the environment names; outside of the service that is a sentence."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "hall.password").write_text("s3cret\n")
    text = HALL + "    username: viewer\n    password_file: ${CREDENTIALS_DIRECTORY}/hall.password\n"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    camera = load(write(tmp_path, text)).cameras["hall"]
    assert password_of(camera, "here") == "s3cret"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert refusal(tmp_path, text) == "FILE, line 5: the environment variable CREDENTIALS_DIRECTORY is not set"
