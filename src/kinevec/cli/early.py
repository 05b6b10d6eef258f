"""What was named is checked before PyTorch is imported, which takes seconds; the tasks check it again."""

from pathlib import Path

from kinevec.errors import InputError


def index(folder: Path) -> None:
    """Refuses a folder that holds no index."""
    from kinevec.search.facts import read_facts

    read_facts(folder)


def encoder(place: str | Path) -> None:
    """Refuses a place of an encoder at which nothing lies."""
    from kinevec.encoders import check_place

    check_place(place)


def videos(source: Path) -> None:
    """Refuses a place of videos at which nothing lies; folders and lists are not read."""
    if not source.exists():
        from kinevec.data.files import find_records

        find_records(source)


def video(file: Path) -> None:
    """Refuses a video that is not there, or a folder."""
    if file.is_dir():
        raise InputError(f"{file}: is a folder, but one video is wanted")
    if not file.exists():
        raise InputError(f"{file}: no such video")


def into_folder(folder: Path) -> None:
    """Refuses a folder that cannot be written to."""
    from kinevec.data.places import check_folder

    check_folder(folder)


def into_file(path: Path) -> None:
    """Refuses a file that cannot be written."""
    from kinevec.data.places import check_file

    check_file(path)


def prepared(folder: Path) -> None:
    """Refuses a folder that `kinevec prepare` did not make."""
    from kinevec.data.manifest_file import PARQUET

    if not (folder / PARQUET).is_file():
        from kinevec.data.manifest import read_manifest

        read_manifest(folder)


def model(folder: Path) -> None:
    """Refuses a place that a model may not be exported to."""
    from kinevec.exchange.target import check_target

    into_folder(folder)
    check_target(folder)


def weights(file: Path) -> None:
    """Refuses what is no file of weights by its first bytes."""
    from kinevec.encoders.recognise import check_weights

    check_weights(file)
