"""Makes the work of the documentation's commands and calls small, on its way into `kinevec.tasks`."""

import functools
import inspect
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kinevec import tasks
from kinevec.data import SynthConfig
from kinevec.evaluate import finetune as finetuning
from kinevec.evaluate.audit import AuditConfig
from kinevec.evaluate.protocols import Settings

TINY = [
    "clip.size=32",
    "train.epochs=1",
    "train.warmup_epochs=0",
    "train.batch=8",
    "train.precision=fp32",
    "train.device=cpu",
    "method.queue=8",
    "data.workers=0",
]
Arguments = dict[str, Any]


def _pretrain(given: Arguments) -> None:
    given["changes"] = [*given.get("changes", ()), *TINY]
    if not given.get("resume"):
        shutil.rmtree(given["out"], ignore_errors=True)  # the one that was there before


def _synth(given: Arguments) -> None:
    given["config"] = replace(
        given.get("config") or SynthConfig(), videos_per_class=2, test_share=0.5, size=64
    )


def _evaluate(given: Arguments) -> None:
    settings = given.get("settings") or Settings()
    tuning = replace(settings.finetune, epochs=1, workers=0)
    given["settings"] = replace(settings, clips=1, draws=2, finetune=tuning)


def _audit(given: Arguments) -> None:
    given["settings"] = replace(
        given.get("settings") or AuditConfig(), clips=1, resamples=100, untrained=False
    )


def _show(given: Arguments) -> None:
    given["end"] = given.get("end") or 0.7


def _finetune(given: Arguments) -> None:
    given["config"] = replace(given["config"], epochs=1, clips=1, workers=0)


SMALLER: list[tuple[Any, str, Callable[[Arguments], None]]] = [
    (tasks, "pretrain", _pretrain),
    (tasks, "synth", _synth),
    (tasks, "evaluate", _evaluate),
    (tasks, "audit", _audit),
    (tasks, "show", _show),
    (finetuning, "finetune", _finetune),
]


def make_smaller(patch: pytest.MonkeyPatch) -> None:
    """Calls arrive with less to do; their arguments are still those of the real signature."""
    patch.setattr("kinevec.tasks.videos.cores", lambda: 0)  # in this process, where a page names no number
    for place, name, change in SMALLER:
        real = getattr(place, name)

        @functools.wraps(real)
        def call(*args: Any, real: Any = real, change: Any = change, **more: Any) -> Any:
            bound = inspect.signature(real).bind(*args, **more)
            change(bound.arguments)
            return real(*bound.args, **bound.kwargs)

        patch.setattr(place, name, call)
