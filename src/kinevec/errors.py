"""Every error that kinevec raises on purpose.

```
KinevecError
├── UsageError            the request cannot be carried out as asked            exit code 2
│   ├── ConfigError       unknown key, wrong type, value out of range
│   ├── InputError        a folder, list or run that was named is not there or is something else
│   ├── OutputError       the output place exists, is not ours, or cannot be written
│   └── LateError         the work is done, but its result could not be written; carries it
├── Interrupted           a person or the system asked to stop; work is saved      exit code 130
└── WorkError             the request was fine, the work failed                 exit code 1
    ├── DataError         no videos, unreadable list, too many failures
    │   └── VideoError    one file cannot be read; carries its path
    ├── CheckpointError   missing, damaged, or made for something else
    └── TrainingError     loss not finite, a loader process died
```

A message says what happened, with numbers, and what to do.
"""

from pathlib import Path
from typing import Any


class KinevecError(Exception):
    """Base of all errors raised on purpose; the command line prints it in one line."""

    exit_code = 1


class UsageError(KinevecError):
    """The request cannot be carried out as asked."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration has an unknown key, a value of the wrong type, or one that makes no sense."""


class InputError(UsageError):
    """A folder, list, file or run that was named does not exist or is something else."""


class OutputError(UsageError):
    """An output place exists already, belongs to something else, or cannot be written."""


class LateError(UsageError):
    """The work is done, but what it found could not be written, or not be compared with what was asked for.

    Args:
        result: what was found.
    """

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[type["LateError"], tuple[str, Any]]:
        return type(self), (str(self), self.result)


class Interrupted(KinevecError):
    """A person (Ctrl-C) or the system (SIGTERM) asked to stop; what was done is saved."""

    exit_code = 130


class WorkError(KinevecError):
    """The request was fine, but the work failed."""


class DataError(WorkError):
    """There are no videos, a list of videos is unreadable, or too many of them failed."""


class VideoError(DataError):
    """One video file cannot be read.

    Args:
        path: the file.
        reason: what is wrong with it, in words a person can act on.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["VideoError"], tuple[Path, str]]:
        return type(self), (self.path, self.reason)  # so that it crosses process borders whole


class CheckpointError(WorkError):
    """A checkpoint is missing, damaged, or was made for another model."""


class TrainingError(WorkError):
    """Training cannot go on: the loss is not finite, or a loader process died."""
