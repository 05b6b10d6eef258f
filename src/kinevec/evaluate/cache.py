"""Features kept between evaluations: computed once for an encoder, its clips and the files of the videos."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray

from kinevec.data.source import Collection, Progress
from kinevec.data.whole import write_whole
from kinevec.encoders import Loaded
from kinevec.errors import OutputError
from kinevec.evaluate.features import Extractor, Features, extract
from kinevec.runtime import pick_device, pick_precision

log = logging.getLogger(__name__)

VERSION = 1  # raise it when the same key would stand for other features
PREFIX = "features-"
LIMIT_BYTES = 2_000_000_000


@dataclass(frozen=True)
class FeatureCache:
    """A folder of feature files; the ones that were not used for longest go when it grows too large.

    Nothing here fails an evaluation: what cannot be read is computed anew, what cannot be written is left out,
    both with a warning.

    Args:
        folder: made when the first file is written; other files in it are left alone.
        limit: bytes that the files may take together.
    """

    folder: Path
    limit: int = LIMIT_BYTES

    def read(self, key: str, collection: Collection) -> Features | None:
        """The features under a key, of a collection that the key was made of; None where there are none."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with safetensors.safe_open(path, "np") as file:
                header, clips = file.metadata() or {}, file.get_tensor("clips")
            if header["digest"] != _digest(clips):
                raise ValueError("its content is not what was written")
            if clips.ndim != 3 or len(clips) != len(collection):
                raise ValueError(f"it holds {clips.shape} for {len(collection)} videos")
            if not np.isfinite(clips).all():
                raise ValueError("its features are not finite")
        except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
            log.warning("%s is damaged and is computed anew: %s", path, error)
            return None
        with suppress(OSError):  # others' cache may be read but not changed
            path.touch()  # used now
        return Features(clips, collection)

    def write(self, key: str, features: Features, asked: Collection) -> None:
        """Keeps features of a collection under a key; not where some of its videos failed, which may pass."""
        if len(features.collection) < len(asked):
            return
        if features.clips.nbytes > self.limit:
            log.warning(
                "features are not kept: %s bytes, and at most %s",
                *(f"{size:,}" for size in (features.clips.nbytes, self.limit)),
            )
            return
        clips = np.ascontiguousarray(features.clips)
        header = {"digest": _digest(clips)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            content = safetensors.numpy.save({"clips": clips}, header)  # save_file lets nobody else read it
            write_whole(self._path(key), lambda aside: aside.write_bytes(content))
            self._bound()
        except (OSError, OutputError, safetensors.SafetensorError) as error:
            log.warning("features are not kept in %s: %s", self.folder, error)

    def _path(self, key: str) -> Path:
        return self.folder / f"{PREFIX}{key}.safetensors"

    def _bound(self) -> None:
        """Removes files, the longest unused first, until the rest is small enough."""
        files = sorted(self.folder.glob(f"{PREFIX}*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total > self.limit:
                total -= path.stat().st_size
                path.unlink(missing_ok=True)


def features_key(
    loaded: Loaded, collection: Collection, clips: int, crops: int, device: str | torch.device
) -> str:
    """What features depend on, as 32 hexadecimal digits.

    The encoder and its clips, the files (path, size and time of change) in their order, the views of the
    protocol, and the precision and kind of the device.
    """
    chosen = pick_device(device) if isinstance(device, str) else device  # it may be other machines' only
    precision = pick_precision(loaded.config.train.precision, chosen)
    digest = hashlib.blake2b(digest_size=16)
    parts = (VERSION, loaded.identity, clips, crops, precision, chosen.type, file_fingerprint(collection))
    digest.update(repr(parts).encode())
    return digest.hexdigest()


def file_fingerprint(collection: Collection) -> str:
    """The same for the same files, unchanged, in the same order only."""
    digest = hashlib.blake2b(digest_size=16)
    for record in collection.records:
        try:
            status = record.path.stat()
            state = (status.st_size, status.st_mtime_ns)
        except OSError:
            state = (-1, -1)  # it will fail to decode
        entry = repr((record.name, str(record.path.resolve()), state))
        digest.update(entry.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def cached_features(
    encoders: Mapping[str, Loaded],
    collection: Collection,
    *,
    clips: int,
    crops: int = 1,
    device: str = "auto",
    extractor: Extractor | None = None,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> dict[str, Features]:
    """As `features.extract`, but what the cache holds is read from it, and what it lacks is put there.

    Args:
        encoders: name → encoder; their clips are made alike.

    Raises:
        DataError: not one video decodes.
        ValueError: their clips are not made alike.
    """
    if len({clips_made(loaded) for loaded in encoders.values()}) > 1:
        raise ValueError(f"the clips of {', '.join(encoders)} differ in shape or normalisation")
    where = extractor.device if extractor else device
    keys = {name: features_key(loaded, collection, clips, crops, where) for name, loaded in encoders.items()}
    found: dict[str, Features] = {}
    for name, key in keys.items() if cache else ():
        kept = cache.read(key, collection) if cache else None
        if kept is not None:
            found[name] = kept
    missing = {name: loaded.encoder for name, loaded in encoders.items() if name not in found}
    if missing:
        config = next(iter(encoders.values())).config
        made = extract(
            missing,
            config,
            collection,
            clips=clips,
            crops=crops,
            device=device,
            extractor=extractor,
            progress=progress,
        )
        for name, features in made.items():
            found[name] = features
            if cache:
                cache.write(keys[name], features, collection)
    return _of_the_same(found, encoders)


def _of_the_same(found: Mapping[str, Features], order: Iterable[str]) -> dict[str, Features]:
    """Features of the videos that all encoders have: one may have failed that decoded when others were kept."""
    names = [set(features.collection.names()) for features in found.values()]
    common = set.intersection(*names)
    fewest = min(found.values(), key=lambda features: len(features.collection))
    kept = {name: found[name].only(lambda record: record.name in common) for name in order}
    rejected = fewest.collection.rejected
    return {
        name: Features(one.clips, replace(one.collection, rejected=rejected)) for name, one in kept.items()
    }


def clips_made(loaded: Loaded) -> tuple[object, ...]:
    """What decides how clips are made for an encoder."""
    config = loaded.config
    return config.clip, config.views.mean, config.views.std, config.train.precision


def _digest(clips: NDArray[np.float32]) -> str:
    return hashlib.blake2b(clips.tobytes(), digest_size=16).hexdigest()
