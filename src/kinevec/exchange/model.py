"""An encoder as others use it: files in, vectors out."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kinevec import encoders
from kinevec.config import Config
from kinevec.data.decode import probe
from kinevec.data.files import find_records
from kinevec.data.records import Record
from kinevec.data.source import Progress, Rejected
from kinevec.encoders import Loaded
from kinevec.errors import DataError, InputError, VideoError
from kinevec.evaluate.encode import ClipEncoder
from kinevec.evaluate.features import CLIPS, clips_of
from kinevec.models.encoder import Encoder

log = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, repr=False)
class Embeddings:
    """Vectors of V videos; `numpy.asarray` of it is `vectors`.

    Attributes:
        vectors: float32 (V, C), the mean of the pooled encoder output over the clips of each video.
        names: of the videos, in this order: as they were given, or relative to the folder that was given.
        rejected: files of the folder that cannot be read, and why.
    """

    vectors: NDArray[np.float32]
    names: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """(name, vector) of each video."""
        return zip(self.names, self.vectors, strict=True)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.vectors, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        left = f", {len(self.rejected)} files left out" if self.rejected else ""
        return f"Embeddings({self.vectors.shape[0]} videos × {self.vectors.shape[1]} numbers{left})"


class Model:
    """An encoder with all that using it on files needs.

    Args:
        loaded: see `kinevec.encoders.load`.
        device: where to compute: auto, cpu, cuda, cuda:1.
        precision: auto (bf16 where the hardware has it), fp32, or bf16.

    Attributes:
        encoder: frames (N, 3, T, H, W) → feature map (N, C, T', H', W'), a `torch.nn.Module`.
        config: how clips are made (`clip`, `views.mean`, `views.std`).
        identity: equal where features are equal, whatever place the model was loaded from.
    """

    def __init__(self, loaded: Loaded, *, device: str = "auto", precision: Precision = "auto") -> None:
        if precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"precision is {precision!r}; it must be 'auto', 'fp32' or 'bf16'")
        self.loaded = loaded
        self.device = device
        self.precision = precision

    @property
    def encoder(self) -> Encoder:
        return self.loaded.encoder

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def identity(self) -> str:
        return self.loaded.identity

    def embed(
        self,
        files: str | Path | Sequence[str | Path],
        *,
        clips: int = CLIPS,
        progress: Progress | None = None,
    ) -> Embeddings:
        """One vector for each video: the mean over clips that are even in time (docs/evaluation.md).

        Args:
            files: a list of video files; or one file, a folder, or a CSV list, as for `kinevec pretrain`.
            clips: clips a video.
            progress: is told (done, total) after each video.

        Returns:
            Of a list, one row for each file in its order. Of a folder or CSV list, files that cannot be read are
            left out, said in the log and listed in `rejected`.

        Raises:
            InputError: the list is empty; the folder is not there, or holds no video.
            VideoError: a file of a list cannot be read.
            DataError: no file of a folder can be read.
        """
        listed = not isinstance(files, str | Path)
        records = _records(files)
        names: list[str] = []
        vectors: list[NDArray[np.float32]] = []
        rejected: list[Rejected] = []
        for done, record in enumerate(records, 1):
            try:
                batch = self.clips(record.path, clips)
            except VideoError as error:
                if listed:
                    raise
                log.warning("left out %s: %s", record.name, error.reason)
                rejected.append(Rejected(record.name, error.reason))
            else:
                names.append(record.name)
                vectors.append(self.encode(batch).mean(0))
            if progress:
                progress(done, len(records))
        if not vectors:
            first = rejected[0]
            raise DataError(
                f"none of {len(records)} videos can be read; the first, {first.name}: {first.reason}"
            )
        return Embeddings(np.stack(vectors), tuple(names), tuple(rejected))

    def clips(self, file: str | Path, count: int = CLIPS) -> NDArray[np.uint8]:
        """uint8 RGB (count, T, S, S, 3): clips of a video as the encoder wants them, even in time, central squares.

        Raises:
            VideoError: the file cannot be read.
        """
        return clips_of(self.config, probe(Path(file)), count)

    def encode(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 RGB clips (N, T, S, S, 3) → pooled features (N, C)."""
        return self._encode(clips)

    def map(self, clips: NDArray[np.uint8]) -> Tensor:
        """uint8 RGB clips (N, T, S, S, 3) → the last feature map, float32 (N, C, T', H', W'), on the device."""
        return self._encode.map(clips)

    @cached_property
    def _encode(self) -> ClipEncoder:
        """Made at the first use, since it tries the hardware."""
        train = dataclasses.replace(self.config.train, precision=self.precision)
        return ClipEncoder(self.encoder, dataclasses.replace(self.config, train=train), self.device)

    def __repr__(self) -> str:
        return f"Model({self.loaded.words}; from {self.loaded.source!r})"


def _records(files: str | Path | Sequence[str | Path]) -> tuple[Record, ...]:
    if isinstance(files, str | Path):
        return find_records(Path(files))
    if not files:
        raise InputError("the list of files to embed is empty")
    return tuple(Record(Path(file), str(file)) for file in files)


def load(place: str | Path, *, device: str = "auto", precision: Precision = "auto") -> Model:
    """The model of a place: a run's folder, an exported folder, one file of weights, `untrained:NAME`, or `org/name`
    on the Hugging Face hub.

    Args:
        place: see `kinevec.encoders.load`.
        device: where to compute: auto, cpu, cuda, cuda:1.
        precision: auto (bf16 where the hardware has it), fp32, or bf16.

    Raises:
        InputError: nothing is there, or the hub cannot be asked.
        CheckpointError: a file is damaged, unsafe, too new, or does not fit the encoder it names.
        ConfigError: no such encoder.
    """
    return Model(encoders.load(place), device=device, precision=precision)
