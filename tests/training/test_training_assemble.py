# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a real git repository to folders to train with: what is taken, what is left, and what is said of mistakes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.conftest import film, put
from training.__main__ import main
from training.alike import Known, Looks
from training.card import card
from training.folders import Pixels, read_folder
from training.sources import read_sources

SOURCE = """[[source]]
name = "made"
repository = "someone/fires"
commit = "{commit}"
folder = "set/train"
classes = {{ 0 = "fire", 2 = "smoke" }}
smoke = "unknown"
without = "painted"
most_per_scene = 2
licence = "none stated"
"""


def scenery(seed: int) -> Pixels:
    """Soft blobs: another seed is another picture."""
    grain = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(grain, (160, 120), interpolation=cv2.INTER_CUBIC), np.uint8)


def git(folder: Path, *words: str) -> str:
    """Its output."""
    who = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
    return subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    """One repository with a picture, noisy and mirrored copies of it, three frames of a video, and what is to be left out."""
    top = tmp_path / "copies" / "someone" / "fires"
    folder = top / "set" / "train"
    yard, noise = scenery(1), np.random.default_rng(0).normal(0, 6, (120, 160, 3))
    put(folder, "yard_jpg.rf.0123abcd", yard, "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n2 0.2 0.1 0.4 0.1 0.4 0.3\n")
    put(folder, "yard-noisy", np.clip(yard + noise, 0, 255).astype(np.uint8))
    put(folder, "yard-turned", np.ascontiguousarray(yard[:, ::-1]))
    put(folder, "painted_1", scenery(2))
    put(folder, "measured", scenery(3))
    for number in range(3):
        put(folder, f"BurningHouse{number}", scenery(10 + number), "0 0.5 0.5 0.1 0.1\n")
    (folder / "images" / "unlabelled.png").write_bytes((folder / "images" / "measured.png").read_bytes())
    git(tmp_path / "copies", "init", "-q", str(top))
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "x")
    put(tmp_path / "val", "made_0000000_other", scenery(3))
    return tmp_path / "copies"


def words(repositories: Path, commit: str = "HEAD") -> list[str]:
    """A call that keeps apart what is in val."""
    sources = repositories.parent / "sources.toml"
    sources.write_text(SOURCE.format(commit=commit))
    parts = {
        "repositories": repositories,
        "sources": sources,
        "apart": repositories.parent / "val",
        "out": repositories.parent / "out",
    }
    return ["assemble", *(word for name, path in parts.items() for word in (f"--{name}", str(path)))]


def test_each_scenery_is_taken_once_and_what_is_measured_with_is_not(
    repositories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copies, the painted one, the video's third frame and the one that val has stay out; foreign classes go, polygons become boxes."""
    assert main(words(repositories)) == 0
    made = {
        each.path.stem.split("_")[2]: each
        for each in read_folder(repositories.parent / "out" / "made", repositories.parent)
    }
    yard = next(name for name in made if name.startswith("yard"))
    assert set(made) == {yard, "BurningHouse0", "BurningHouse1"}
    assert not any(each.smoke_known for each in made.values())
    told = capsys.readouterr().err
    for fate in ("3 taken", "2 like another", "1 like what is measured with", "1 enough of their scene"):
        assert fate in told


def test_what_a_clip_shows_is_kept_apart_too(repositories: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clips are measured with as pictures are; they lie in a folder with their list."""
    film(repositories.parent / "data", "house", scenery(11))
    assert (
        main([*words(repositories), "--apart", str(repositories.parent / "val"), str(repositories.parent / "data")])
        == 0
    )
    made = read_folder(repositories.parent / "out" / "made", repositories.parent)
    assert {each.path.stem.split("_")[2] for each in made if "House" in each.path.stem} == {
        "BurningHouse0", "BurningHouse2",
    }  # fmt: skip
    assert "2 like what is measured with" in capsys.readouterr().err


def test_labels_come_over_in_our_classes(repositories: Path) -> None:
    """0 is fire, the source's 2 is smoke, its 1 is neither."""
    top = repositories / "someone" / "fires"
    for name in ("yard-noisy", "yard-turned"):
        (top / "set" / "train" / "labels" / f"{name}.txt").unlink()
    git(top, "commit", "-q", "-am", "y")
    assert main(words(repositories, git(top, "rev-parse", "HEAD").strip())) == 0
    made = read_folder(repositories.parent / "out" / "made", repositories.parent)
    (yard,) = [each for each in made if each.path.stem.endswith("yard")]
    assert [each.label for each in yard.boxes] == ["fire", "smoke"]
    assert yard.boxes[1].box == pytest.approx((0.2, 0.1, 0.4, 0.3), abs=1e-5)


def test_pictures_without_labels_are_taken_where_a_person_has_looked(repositories: Path) -> None:
    """`labels = "none"`: whatever lies there shows neither, with a labels file or without."""
    given = words(repositories)
    sources = repositories.parent / "sources.toml"
    sources.write_text(sources.read_text() + 'labels = "none"\n')
    assert main(given) == 0
    made = read_folder(repositories.parent / "out" / "made", repositories.parent)
    assert len(made) == 3, "the yard, and two frames of the video"
    assert not any(each.boxes for each in made)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (("someone/fires", "nobody/fires"), "nobody/fires: no copy of it"),
        (("HEAD", "no-such-commit"), "no-such-commit"),
        (('licence = "none stated"', ""), "a source has no licence"),
        (('"smoke" }', '"steam" }'), "classes: steam; allowed are fire, smoke"),
        (("set/train", "elsewhere"), "no labelled pictures in elsewhere"),
        (('"made"', '"../../escape"'), "name = '../../escape'; allowed is small letters and digits"),
        (('"someone/fires"', "5"), "source 'made': repository = 5; allowed is OWNER/NAME"),
        (('"HEAD"', "5"), "commit = 5; allowed is a commit"),
        (('"HEAD"', '"--help"'), "commit = '--help'; allowed is a commit"),
        (('classes = { 0 = "fire", 2 = "smoke" }', 'classes = ["fire"]'), "classes = ['fire']; allowed is a table"),
        (('{ 0 = "fire"', '{ fire = "0"'), "allowed is a table of their numbers, such as { 0 = "),
        (('"smoke" }', "1 }"), "classes: 1; allowed are fire, smoke"),
        (("most_per_scene = 2", 'most_per_scene = "2"'), "most_per_scene = '2'; allowed is a whole number from 1 on"),
        (('"unknown"', '"unlabelled"'), "smoke = 'unlabelled'; allowed is known or unknown"),
        (('"painted"', '"("'), "source 'made': missing )"),
        (("without", "whithout"), "whithout is nothing that a source has"),
        (("[[source]]", 'source = "x"\n[other]'), "its sources have to be tables, each under [[source]]"),
        (("[[source]]", "source = [1]\n[other]"), "its sources have to be tables, each under [[source]]"),
        (("[[source]]", "[[sources]]"), "its sources have to be tables, each under [[source]]"),
        (("[[source]]", "[[source"), "at line 1"),
    ],
)
def test_a_mistake_in_the_sources_gets_one_sentence(
    repositories: Path, capsys: pytest.CaptureFixture[str], instead: tuple[str, str], said: str
) -> None:
    """Which, where, and no traceback; nothing is written."""
    call, sources = words(repositories), repositories.parent / "sources.toml"
    sources.write_text(sources.read_text().replace(*instead))
    assert main(call) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (repositories.parent / "out").exists()


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (("someone/fires", "nobody/fires"), "nobody/fires: no copy of it"),
        (("HEAD", "no-such-commit"), "no-such-commit"),
        (("set/train", "elsewhere"), "no labelled pictures in elsewhere"),
        (("other", "made"), "two sources of the name made would become one folder"),
    ],
)
def test_a_mistake_in_the_last_source_is_found_before_the_first_is_taken(
    repositories: Path, capsys: pytest.CaptureFixture[str], instead: tuple[str, str], said: str
) -> None:
    """Else the same words, once it is mended, would find half of it there already."""
    call, sources = words(repositories), repositories.parent / "sources.toml"
    first = sources.read_text()
    sources.write_text(first + first.replace('"made"', '"other"').replace(*instead))
    assert main(call) == 2
    assert said in capsys.readouterr().err
    assert not (repositories.parent / "out").exists()
    sources.write_text(first)
    assert main(call) == 0


@pytest.mark.parametrize(
    "line",
    ["fire .5 .5 .1 .1", "0 .5 .5 .1 x", "0 nan 5 .1 .1", "0 .5 .5 .1", "0 .5 .5 .1 .1 .9", "2 .5 .5 .0000004 .1"],
)
def test_a_picture_whose_labels_are_none_is_left_out_and_named(
    repositories: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of a source's thousands must not cost the others, nor make a folder that nobody can train with."""
    top = repositories / "someone" / "fires"
    (top / "set" / "train" / "labels" / "BurningHouse1.txt").write_text(f"1 what this is matters not\n\n{line}\n")
    git(top, "commit", "-q", "-am", "y")
    assert main(words(repositories)) == 0
    told = capsys.readouterr().err
    where = "someone/fires: set/train/labels/BurningHouse1.txt, line 3"
    assert f"{where}: not `class cx cy w h`, nor a polygon: {line!r}: left out\n" in told
    assert "1 with labels that are none" in told
    made = read_folder(repositories.parent / "out" / "made", repositories.parent)
    assert {each.path.stem.split("_")[2] for each in made if "House" in each.path.stem} == {
        "BurningHouse0", "BurningHouse2",
    }  # fmt: skip


def test_a_source_of_which_nothing_is_taken_ends_nothing(repositories: Path) -> None:
    """All that it has is like pictures of the first; smoke is not known in it either."""
    call, sources = words(repositories), repositories.parent / "sources.toml"
    again = SOURCE.replace('"made"', '"again"').replace("painted", "painted|Burning").format(commit="HEAD")
    sources.write_text(sources.read_text() + again)
    assert main(call) == 0
    assert [each.name for each in (repositories.parent / "out" / "again").iterdir()] == ["PARTIAL"]


def test_pictures_that_differ_are_not_alike() -> None:
    """Forty sceneries: none is taken for another, each is found again in a quarter of its size."""
    known = Known()
    for seed in range(40):
        assert not known.has_like(Looks.of(scenery(seed)), 40)
        known.add(Looks.of(scenery(seed)))
    assert all(
        known.has_like(Looks.of(np.asarray(cv2.resize(scenery(seed), (80, 60)), np.uint8)), 20) for seed in range(40)
    )


def test_the_card_says_where_the_pictures_are_from(repositories: Path) -> None:
    """Repository, commit and licence as the source states it; without sources it says that they are missing."""
    words(repositories)
    (repositories.parent / "a.onnx").write_bytes(b"weights")
    given = repositories.parent / "a.onnx", "10 steps", {"seed": 0}, ["ours"]
    text = card(*given, read_sources(repositories.parent / "sources.toml"), None)
    assert "| made | someone/fires, HEAD, set/train | none stated | fire, smoke; smoke not labelled |" in text
    assert "What `training assemble` takes from the sources named" in text
    assert "has to be written here by hand" in card(*given, [], None)
    for word in ('empty = "only"', 'labels = "none"'):
        (repositories.parent / "sources.toml").write_text(SOURCE.format(commit="HEAD") + word + "\n")
        text = card(*given, read_sources(repositories.parent / "sources.toml"), None)
        assert "| none stated | neither |" in text, "none that show fire are taken, whatever the source labels"
