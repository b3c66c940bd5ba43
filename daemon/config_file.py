# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads config.yaml: every mistake becomes one sentence with the key, its line in the file and what is allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from daemon.errors import SettingsError
from daemon.settings import DetectSettings, Settings, StorageSettings

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no path, name or address holds: control characters, and halves of characters, of which no UTF-8 can be made."""
_CAMERA_FILES = ("password_file", "components_view")
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The settings, and where in the file each of them stands."""

    path: Path
    settings: Settings
    lines: dict[Key, int]

    def place(self, *key: str | int) -> str:
        """Of a key, for a sentence about its value: file, line and key; the default has no line."""
        name = ".".join(str(part) for part in key)
        if key not in self.lines:
            return f"{self.path}: {name} (not set: this is the default)"
        return f"{self.path}, line {self.lines[key]}: {name}"


def load(path: Path) -> Settings:
    """The settings in the file at `path`; see `read`."""
    return read(path).settings


def read(path: Path) -> ConfigFile:
    """The settings in the file at `path`, its relative paths made absolute against the file's folder.

    Raises SettingsError: all mistakes found, one line each.
    """
    text = _text(path)
    node = _compose(path, text)
    if node is not None:
        _refuse_knots(path, node, ())
    lines = dict(_lines(node, ())) if node is not None else {}
    data = _plain(path, node, "") if node is not None else {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}, line 1: the file must be a mapping with the keys {_keys(Settings)}")
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        told = sorted(_sentence(lines, each) for each in _of_their_own(error.errors()))
        raise SettingsError("\n".join(f"{path}, line {line}: {sentence}" for line, sentence in told)) from error
    found = ConfigFile(path, _absolute(settings, path.resolve().parent), lines)
    _refuse_state_in_store(found)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except PermissionError as error:  # the installed settings are closed to all but root and the service
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); ask with sudo") from error
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); give the settings file with --config FILE"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text (byte {error.start})") from error


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path}, line {line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise SettingsError(f"{path}: blocks stand too deeply in each other") from None


def _refuse_knots(path: Path, node: yaml.Node, above: tuple[yaml.Node, ...]) -> None:
    """What YAML allows and settings cannot be: an alias inside what it stands for, a key that is no text."""
    line = node.start_mark.line + 1
    if any(node is each for each in above):
        raise SettingsError(f"{path}, line {line}: an alias stands inside what it stands for")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise SettingsError(f"{path}, line {key.start_mark.line + 1}: a key must be a plain text")
            _refuse_knots(path, value, (*above, node))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_knots(path, value, (*above, node))


def _lines(node: yaml.Node, at: Key) -> Iterator[tuple[Key, int]]:
    """Each key's path and the line it stands on."""
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = (*at, key.value)
            yield from _lines(value, inside)
            yield inside, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _lines(value, (*at, place))


def _plain(path: Path, node: yaml.Node, at: str) -> Any:
    """The node as Python values, with ${ENV} expanded; refuses a key that is given twice."""
    if isinstance(node, yaml.MappingNode):
        found: dict[Any, Any] = {}
        for key, value in node.value:
            _refuse_no_text(path, key, at or "the file", key.value)
            name = f"{at}.{key.value}".lstrip(".")
            if key.value in found:
                line = key.start_mark.line + 1
                raise SettingsError(f"{path}, line {line}: {name}: given twice; each name may stand once")
            found[key.value] = _plain(path, value, name)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(path, value, at) for value in node.value]
    value = _scalar(path, node, at)
    if not isinstance(value, str):
        return value
    expanded = _VARIABLE.sub(lambda found: _variable(path, node, found[1]), value)
    _refuse_no_text(path, node, at, expanded)
    return expanded


def _refuse_no_text(path: Path, node: yaml.Node, at: str, text: str) -> None:
    """Without quoting it: it may be a password."""
    if found := _NO_TEXT.search(text):
        line, code = node.start_mark.line + 1, ord(found[0])
        raise SettingsError(f"{path}, line {line}: {at}: a character that is no text (U+{code:04X}) stands in it")


def _scalar(path: Path, node: yaml.Node, at: str) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        line = node.start_mark.line + 1
        raise SettingsError(
            f"{path}, line {line}: {at}: the tag {node.tag} cannot be used here; write the value alone"
        ) from error
    finally:
        loader.dispose()


def _variable(path: Path, node: yaml.Node, name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise SettingsError(
            f"{path}, line {node.start_mark.line + 1}: the environment variable {name} is not set"
        ) from None


def _refuse_state_in_store(file: ConfigFile) -> None:
    """The known stores' ids lie outside the stores: an unmounted disk would take them along (design, The right disk)."""
    storage = file.settings.storage
    for name in ("state_dir", "runtime_dir"):
        folder: Path = getattr(storage, name)
        if storage.root == folder or storage.root in folder.parents:
            raise SettingsError(
                f"{file.place('storage', name)}: {folder} lies in storage.root; give a folder outside of it"
            )


def _keys(model: type[Any]) -> str:
    return ", ".join(model.model_fields)


_KINDS = {
    "dict_type": "write names, and the keys of each below its name",
    "tuple_type": "write a list, such as [a, b]",
    "string_type": "write a text; where YAML would take it for something else, such as 0123 or no, in quotes",
    "path_type": "write the path of a file or folder; where YAML would take it for something else, in quotes",
    "string_pattern_mismatch": "write the 64 digits of a SHA-256, from 0-9 and a-f",
}
"""In an operator's words, where pydantic speaks of Python's types."""


def _of_their_own(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are too short only because of a mistake in them."""
    places = [error["loc"] for error in errors]

    def follows(loc: Key) -> bool:
        return any(len(other) > len(loc) and other[: len(loc)] == loc for other in places)

    return [error for error in errors if error["type"] != "too_short" or not follows(error["loc"])]


def _what(error: ErrorDetails, at: Key) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"there is no such key; allowed are {_allowed_beside(at)}"
    if kind == "missing":
        return "this key is missing"
    if error["input"] is None:
        return "it has no value: give one, or leave the key out"
    if kind == "model_type":
        return f"its own keys belong below it: {_allowed_beside((*at, ''))}"
    if kind in ("too_short", "too_long"):
        limit = error["ctx"].get("min_length", error["ctx"].get("max_length"))
        return f"it has {error['ctx']['actual_length']} parts; at {'least' if kind == 'too_short' else 'most'} {limit} are allowed"
    what = _KINDS.get(kind, error["msg"].removeprefix("Value error, "))
    return f"{what[0].lower()}{what[1:]}"


def _sentence(lines: dict[Key, int], error: ErrorDetails) -> tuple[int, str]:
    inside = error.get("ctx", {}).get("inside", ()) if error["type"] == "camera" else ()
    at = (*(part for part in error["loc"] if part != "[key]"), *inside)
    line = next((lines[at[:end]] for end in range(len(at), -1, -1) if at[:end] in lines), 1)
    key = ".".join(str(part) for part in at) or "the file"
    return line, f"{key}: {_what(error, at)}"


def _allowed_beside(at: Key) -> str:
    """The keys that may stand where an unknown one stands."""
    model: Any = Settings
    for part in at[:-1]:
        fields = getattr(model, "model_fields", {})
        model = fields[part].annotation if part in fields else _inner(model)
        model = _inner(model) if not hasattr(model, "model_fields") else model
    return _keys(model) if hasattr(model, "model_fields") else "none"


def _inner(annotation: Any) -> Any:
    """The model inside dict[str, Model] or tuple[Model, ...]; the annotation itself where there is none."""
    models = [each for each in getattr(annotation, "__args__", ()) if hasattr(each, "model_fields")]
    return models[0] if models else annotation


def _detect_absolute(detect: DetectSettings, base: Path) -> DetectSettings:
    verify = detect.verify
    if verify.weights is not None:
        verify = verify.model_copy(update={"weights": base / verify.weights})
    return detect.model_copy(update={"weights": base / detect.weights, "verify": verify})


def _absolute(settings: Settings, base: Path) -> Settings:
    storage = settings.storage
    state = storage.state_dir or Path(os.environ.get("STATE_DIRECTORY", "var/state").split(":")[0])
    runtime = storage.runtime_dir or Path(os.environ.get("RUNTIME_DIRECTORY", "var/run").split(":")[0])
    placed = storage.model_copy(
        update={"root": base / storage.root, "state_dir": base / state, "runtime_dir": base / runtime}
    )
    return settings.model_copy(
        update={
            "storage": placed,
            "detect": _detect_absolute(settings.detect, base),
            "api": settings.api.model_copy(
                update={"image_roots": tuple(base / each for each in settings.api.image_roots)}
            ),
            "cameras": {
                name: camera.model_copy(
                    update={key: base / path for key in _CAMERA_FILES if (path := getattr(camera, key)) is not None}
                )
                for name, camera in settings.cameras.items()
            },
        }
    )


def state_dir(storage: StorageSettings) -> Path:
    """The folder of what must outlive a changed disk; always set in loaded settings."""
    assert storage.state_dir is not None
    return storage.state_dir


def runtime_dir(storage: StorageSettings) -> Path:
    """The folder of the sockets; always set in loaded settings."""
    assert storage.runtime_dir is not None
    return storage.runtime_dir
