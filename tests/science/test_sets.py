"""Sets are written whole, once, the same for the same seed, and with the source's labels, people and splits."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_people import CLASSES
from scenes import KINDS, Look
from sets import write_sets

from kinevec.data import find_records
from kinevec.data.decode import iter_frames
from kinevec.errors import DataError, OutputError

LOOK = Look(size=32)
CLASSES_SORTED = sorted(CLASSES)


@pytest.fixture(scope="module")
def work(depth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_sets(depth, folder, LOOK)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_every_set_has_every_video_with_its_person_and_split(depth: Path, work: Path) -> None:
    source = {(r.name, r.label, r.group, r.split) for r in find_records(depth)}
    for kind in KINDS:
        records = find_records(work / "sets" / kind)
        assert {(r.name, r.label, r.group, r.split) for r in records} == source
        for record in records[:3]:
            frames = list(iter_frames(record.path))
            assert len(frames) == 24
            assert frames[0].shape == (32, 32, 3)


def test_written_backgrounds_are_as_claimed(work: Path) -> None:
    """In the corners, where nobody ever is: black; the class's own hue; that of another class."""

    def corner(kind: str, label: str, name: str) -> np.ndarray:
        frames = np.stack(list(iter_frames(work / "sets" / kind / label / name)))
        return frames[:, :4, :4].reshape(-1, 3).mean(0)

    for number, label in enumerate(CLASSES_SORTED):
        assert corner("original", label, "a1.mp4").max() < 6
        own = [corner("biased", label, f"{person}{take}.mp4") for person in "ab" for take in (1, 2)]
        partner = CLASSES_SORTED[(number + 2) % 4]
        mislead = [corner("biased", partner, f"c{take}.mp4") for take in (1, 2)]
        tints = np.array([colour / colour.max() for colour in own + mislead])
        assert (
            tints.std(0).max() < 0.12
        )  # train videos of a class, and test videos of the class half the list away
        others = [corner("biased", partner, f"a{take}.mp4") for take in (1, 2)]
        unlike = np.array([colour / colour.max() for colour in others]).mean(0) - tints.mean(0)
        assert np.abs(unlike).max() > 0.15


def test_families_are_written_beside_the_videos(work: Path) -> None:
    """Videos that are said to have the same family have the same hue where nobody ever is; others have not."""
    assert not (work / "sets" / "original" / "families.json").exists()
    biased = json.loads((work / "sets" / "biased" / "families.json").read_text())
    for number, label in enumerate(CLASSES_SORTED):
        assert biased[f"{label}/a1.mp4"] == biased[f"{label}/b2.mp4"] == number
        assert biased[f"{label}/c1.mp4"] == (number + 2) % 4
    family = json.loads((work / "sets" / "unbiased" / "families.json").read_text())
    assert len(family) == 24
    tints: dict[int, list[np.ndarray]] = {}
    for name, number in family.items():
        frames = np.stack(list(iter_frames(work / "sets" / "unbiased" / name)))
        colour = frames[:, :4, :4].reshape(-1, 3).mean(0)
        tints.setdefault(number, []).append(colour / colour.max())
    means = {number: np.mean(found, 0) for number, found in tints.items()}
    for number, found in tints.items():
        for tint in found:
            assert min(means, key=lambda one: float(np.abs(means[one] - tint).sum())) == number


def test_same_seed_same_bytes_and_an_interrupted_set_is_completed(
    depth: Path, work: Path, tmp_path: Path
) -> None:
    write_sets(depth, tmp_path, LOOK, kinds=("biased",))
    lost = tmp_path / "sets" / "biased" / "up" / "b2.mp4"
    kept = tmp_path / "sets" / "biased" / "up" / "b1.mp4"
    wrong = kept.read_bytes()[:-1]
    lost.unlink()
    kept.write_bytes(wrong)  # what is there is not written again
    write_sets(depth, tmp_path, LOOK, kinds=("biased",))
    whole = contents(work / "sets" / "biased")
    again = contents(tmp_path / "sets" / "biased")
    assert again.pop("up/b1.mp4") == wrong
    whole.pop("up/b1.mp4")
    assert again == whole


def test_other_seed_other_videos(depth: Path, work: Path, tmp_path: Path) -> None:
    write_sets(depth, tmp_path, LOOK, kinds=("original", "unbiased"), seed=1)
    name = "up/a1.mp4"
    for kind in ("original", "unbiased"):
        one, other = (folder / "sets" / kind / name for folder in (work, tmp_path))
        assert one.read_bytes() != other.read_bytes()
    assert json.loads((tmp_path / "sets" / "unbiased" / "set.json").read_text())["seed"] == 1


def test_a_set_made_otherwise_is_refused(depth: Path, work: Path) -> None:
    with pytest.raises(OutputError, match="made otherwise"):
        write_sets(depth, work, Look(size=32, texture=0.9))


def test_a_source_without_people_is_refused(depth: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.csv"
    video = depth / "up" / "a1.mp4"
    source.write_text(f"path,label,split\n{video},up,train\n")
    with pytest.raises(DataError, match="group"):
        write_sets(source, tmp_path / "work", LOOK)
