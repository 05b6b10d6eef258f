"""What each official data set lists: one function per data set, from its own annotation files.

Each takes the place of the annotation files and the number of the split, and gives the listed videos in the
order of the lists (train, then val, then test). None of them looks at the videos.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from kinevec.data.official_files import Annotations, read_csv, read_entries, read_json, read_lines
from kinevec.errors import DataError


@dataclass(frozen=True, slots=True)
class Listed:
    """One video as the lists of its data set name it."""

    file: str  # file name
    folders: tuple[str, ...]  # where it may be, below the folder of the videos ("": there), the usual first
    label: str | None
    group: str | None
    split: str


def list_ucf101(annotations: Annotations, fold: int) -> Iterator[Listed]:
    """UCF101: 101 classes, 13,320 videos, 3 splits.

    Annotations, for split 1: `trainlist01.txt` (lines `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`),
    `testlist01.txt` (the same without the number) and `classInd.txt` (lines `1 ApplyEyeMakeup`), here or in
    `ucfTrainTestlist/`. Videos: `<class>/<name>.avi`, here or in `UCF-101/`. Label: the class's folder.
    Group: the class and the number after `_g`, since the clips of one group were filmed together.
    """
    classes = {}
    class_file = annotations.find("classInd.txt", "ucfTrainTestlist/classInd.txt")
    for where, line in read_lines(class_file):
        match = re.fullmatch(r"(\d+)\s+(\S+)", line)
        if match is None:
            raise DataError(f"{where}: expected '<number> <class>', found {line!r}.")
        classes[match[2]] = int(match[1])
    for split in ("train", "test"):
        name = f"{split}list{fold:02d}.txt"
        for where, line in read_lines(annotations.find(name, f"ucfTrainTestlist/{name}")):
            yield _ucf101_line(where, line, split, classes)


_UCF101_LINE = re.compile(r"(?P<label>[^/]+)/(?P<file>\S+_(?P<group>g\d+)_c\d+\.avi)(?:\s+(?P<number>\d+))?")


def _ucf101_line(where: str, line: str, split: str, classes: dict[str, int]) -> Listed:
    match = _UCF101_LINE.fullmatch(line)
    if match is None or (split == "train" and match["number"] is None):
        expected = "<class>/v_<class>_g<group>_c<clip>.avi" + (" <class number>" if split == "train" else "")
        raise DataError(f"{where}: expected '{expected}', found {line!r}.")
    label, file, group, number = match["label"], match["file"], match["group"], match["number"]
    if label not in classes:
        raise DataError(f"{where}: class {label!r} is not in classInd.txt.")
    if number is not None and int(number) != classes[label]:
        raise DataError(f"{where}: number {number}, but {label!r} has {classes[label]} in classInd.txt.")
    return Listed(file, (label, f"UCF-101/{label}"), label, f"{label}/{group}", split)


def list_hmdb51(annotations: Annotations, fold: int) -> Iterator[Listed]:
    """HMDB51: 51 classes, 6,766 videos, 3 splits of 70 training and 30 test videos a class.

    Annotations, for split 1: one `<class>_test_split1.txt` a class, here or in
    `testTrainMulti_7030_splits/`, with lines `<name>.avi 1`: 1 train, 2 test, 0 in neither and left out.
    Videos: `<class>/<name>.avi`, here or in `hmdb51_org/`. Group: the class and the film that the clip was
    cut from, which is the name without the description at its end (`_f_cm_np1_le_med_0`).
    """
    ending = f"_test_split{fold}.txt"
    listed = [
        video
        for file in annotations.glob(f"*{ending}", "testTrainMulti_7030_splits")
        for where, line in read_lines(file)
        if (video := _hmdb51_line(where, line, file.name.removesuffix(ending))) is not None
    ]
    yield from (video for split in ("train", "test") for video in listed if video.split == split)


_HMDB51_DESCRIPTION = re.compile(r"_[a-z]_(?:cm|nm)_np\d+_[a-z]{2}_[a-z]{3}_\d+$")  # body, camera, ..., clip


def _hmdb51_line(where: str, line: str, label: str) -> Listed | None:
    match = re.fullmatch(r"(?P<file>.+\.avi)\s+(?P<code>[012])", line)
    if match is None:
        raise DataError(f"{where}: expected '<name>.avi <0, 1 or 2>', found {line!r}.")
    file, code = match["file"], match["code"]
    if code == "0":
        return None
    film = _HMDB51_DESCRIPTION.sub("", file.removesuffix(".avi"))
    split = "train" if code == "1" else "test"
    return Listed(file, (label, f"hmdb51_org/{label}"), label, f"{label}/{film}", split)


def list_something_something_v2(annotations: Annotations, fold: int) -> Iterator[Listed]:
    """Something-Something v2: 174 classes, 220,847 videos.

    Annotations: `something-something-v2-train.json`, `-validation.json`, `-labels.json` and, if it is there,
    `-test.json`; or, as distributed later, the same as `train.json`, ... in `labels/`. Entries are
    `{"id": "78687", "template": "Holding [something] next to [something]", ...}`; those of the test list
    have an id only, and get no label. Videos: `<id>.webm`, here or in `20bn-something-something-v2/`.
    Label: the template without brackets, as in the list of labels. Who filmed a video is not published: no
    groups.
    """

    def names(part: str) -> tuple[str, ...]:
        return f"something-something-v2-{part}.json", f"{part}.json", f"labels/{part}.json"

    label_file = annotations.find(*names("labels"))
    labels = read_json(label_file)
    if not isinstance(labels, dict):
        raise DataError(f"{label_file}: expected an object of labels and numbers.")
    folders = ("", "20bn-something-something-v2")
    for part, split in (("train", "train"), ("validation", "val")):
        for where, entry in read_entries(annotations.find(*names(part)), {"id": str, "template": str}):
            label = entry["template"].replace("[", "").replace("]", "")
            if label not in labels:
                raise DataError(f"{where}: {label!r} is not in the list of labels.")
            yield Listed(f"{entry['id']}.webm", folders, label, None, split)
    test = annotations.find_if_there(*names("test"))
    if test is not None:
        for _, entry in read_entries(test, {"id": str}):
            yield Listed(f"{entry['id']}.webm", folders, None, None, "test")


def list_diving48(annotations: Annotations, fold: int) -> Iterator[Listed]:
    """Diving48 v2: 48 classes, 16,997 videos.

    Annotations: `Diving48_V2_train.json` and `Diving48_V2_test.json`, with entries
    `{"vid_name": "-mmq0PT-u8k_00155", "label": 0, "start_frame": 0, "end_frame": 48}`, and
    `Diving48_vocab.json`, a list of the four parts of each class, `["Back", "15som", "05Twis", "FREE"]`.
    Videos: `<vid_name>.mp4`, here or in `rgb/`; each is one dive, so the frame numbers are not needed.
    Label: the four parts, joined by spaces. Group: the recording that the dive was cut from (the name
    without its last number); the official split does not keep recordings apart.
    """
    vocabulary_file = annotations.find("Diving48_vocab.json")
    vocabulary = read_json(vocabulary_file)
    if not isinstance(vocabulary, list) or not all(isinstance(parts, list) for parts in vocabulary):
        raise DataError(
            f"{vocabulary_file}: expected a list of lists such as ['Back', '15som', '05Twis', 'FREE']."
        )
    labels = [" ".join(map(str, parts)) for parts in vocabulary]
    for split in ("train", "test"):
        file = annotations.find(f"Diving48_V2_{split}.json")
        for where, entry in read_entries(file, {"vid_name": str, "label": int}):
            name, number = entry["vid_name"], entry["label"]
            if not 0 <= number < len(labels):
                raise DataError(
                    f"{where}: label {number}, but Diving48_vocab.json has {len(labels)} classes."
                )
            yield Listed(f"{name}.mp4", ("", "rgb"), labels[number], name.rpartition("_")[0] or name, split)


_KINETICS_SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def list_kinetics400(annotations: Annotations, fold: int) -> Iterator[Listed]:
    """Kinetics-400: 400 classes, about 306,000 videos, of which many can no longer be had.

    Annotations: `train.csv`, `validate.csv` (or `val.csv`) and, if it is there, `test.csv`, with the columns
    `label,youtube_id,time_start,time_end,split` and perhaps more; the test list may lack labels. Videos:
    `<youtube_id>_<time_start>_<time_end>.mp4` with times in seconds, six digits each, in a folder of the
    label (spaces kept, or as `_`) or in none, and all that here or in a folder of the split (`train`;
    `val`, `validate` or `validation`; `test`). Group: the YouTube video.
    """
    train, val = annotations.find("train.csv"), annotations.find("validate.csv", "val.csv")
    test = annotations.find_if_there("test.csv")
    columns = ("youtube_id", "time_start", "time_end", "split")
    for file in filter(None, (train, val, test)):
        for where, (youtube_id, start, end, part), label in read_csv(file, columns, optional="label"):
            if not (start.isdecimal() and end.isdecimal()):
                raise DataError(f"{where}: expected times in whole seconds, found {start!r} and {end!r}.")
            split = _KINETICS_SPLITS.get(part)
            if split is None or not youtube_id:
                raise DataError(
                    f"{where}: expected an id and a split (train, validate, test), found {part!r}."
                )
            if not label and split != "test":
                raise DataError(f"{where}: no label; only the test list may lack them.")
            name = f"{youtube_id}_{int(start):06d}_{int(end):06d}.mp4"
            yield Listed(name, _kinetics_folders(split, label or None), label or None, youtube_id, split)


@cache
def _kinetics_folders(split: str, label: str | None) -> tuple[str, ...]:
    splits = ("", *(f"{name}/" for name, meaning in _KINETICS_SPLITS.items() if meaning == split))
    labels = ("",) if label is None else (label, label.replace(" ", "_"), "")
    return tuple(dict.fromkeys((above + below).rstrip("/") for above in splits for below in labels))


# fmt: off
_UTD_MHAD_ACTIONS = (
    "swipe_left", "swipe_right", "wave", "clap", "throw", "arm_cross",
    "basketball_shoot", "draw_x", "draw_circle_cw", "draw_circle_ccw", "draw_triangle", "bowling",
    "boxing", "baseball_swing", "tennis_swing", "arm_curl", "tennis_serve", "push",
    "knock", "catch", "pickup_throw", "jog", "walk", "sit2stand",
    "stand2sit", "lunge", "squat",
)
# fmt: on
_UTD_MHAD_WITHDRAWN = {(8, 1, 4), (23, 6, 4), (27, 8, 4)}  # damaged recordings, not distributed


def list_utd_mhad(annotations: Annotations, fold: int) -> Iterator[Listed]:
    """UTD-MHAD: 27 actions by 8 people, 4 trials each less 3 withdrawn recordings, 861 colour videos.

    No annotation files. Videos: `a<action>_s<subject>_t<trial>_color.avi`, here or in `RGB/`. Label: the
    action's short name. Group: the subject. Split: the cross-subject one of the authors, subjects 1, 3, 5
    and 7 train, 2, 4, 6 and 8 test.
    """
    for split, subjects in (("train", (1, 3, 5, 7)), ("test", (2, 4, 6, 8))):
        for action, label in enumerate(_UTD_MHAD_ACTIONS, start=1):
            for subject in subjects:
                for trial in range(1, 5):
                    if (action, subject, trial) not in _UTD_MHAD_WITHDRAWN:
                        name = f"a{action}_s{subject}_t{trial}_color.avi"
                        yield Listed(name, ("", "RGB"), label, f"s{subject}", split)
