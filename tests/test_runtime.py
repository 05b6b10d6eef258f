"""Devices, precision, seeds, and what a result says of how it was made."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kinevec import runtime
from kinevec.errors import ConfigError
from kinevec.runtime import (
    autocast,
    default_workers,
    machine,
    one_thread,
    pick_device,
    pick_precision,
    provenance,
    seeded,
)

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_pick_device() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "xpu:99", "hpu", "meta"])
def test_devices_that_are_not_here_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"train.device is '{name}', which cannot be used here; try 'cpu'"):
        pick_device(name)


@pytest.mark.parametrize("native", [False, True])
def test_auto_precision_is_bf16_where_the_processor_has_it(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = "flags : fpu avx512f avx512_bf16 sse" if native else "flags : fpu avx512f sse"
    monkeypatch.setattr(Path, "read_text", lambda path: flags)
    assert pick_precision("auto", CPU) == ("bf16" if native else "fp32")
    assert pick_precision("fp32", CPU) == "fp32"
    assert pick_precision("bf16", CPU) == "bf16"


def test_auto_precision_is_fp32_where_the_processor_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert pick_precision("auto", CPU) == "fp32"


def test_autocast_is_bf16_or_nothing() -> None:
    a = noise(4, 4)
    with autocast(CPU, "bf16"):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize(
    ("cores", "kind", "expected"),
    [(16, "cpu", 4), (7, "cpu", 1), (8, "cpu", 2), (1, "cpu", 1), (16, "cuda", 15), (1, "cuda", 1)],
)
def test_default_workers(cores: int, kind: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert default_workers(torch.device(kind)) == expected


def test_one_thread_for_a_while() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with contextlib.suppress(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_seeded_modules_are_repeatable_and_the_global_generator_goes_on_as_if_nothing_had_been() -> None:
    before = torch.get_rng_state()
    with seeded(3):
        one = nn.Linear(5, 5)
    with seeded(3):
        again = nn.Linear(5, 5)
    with seeded(4):
        other = nn.Linear(5, 5)
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_provenance_says_what_made_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = provenance("cpu")
    assert json.loads(json.dumps(facts)) == facts
    assert facts["torch"] == torch.__version__
    assert (facts["device"], facts["machine"]) == ("cpu", machine("cpu"))
    assert facts["machine"].endswith(f", {torch.get_num_threads()} threads")
    assert provenance()["device"] == str(pick_device("auto"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert provenance("cpu") | {"made": ""} == facts | {"made": ""}
    assert {"made", "command", "kinevec", "commit", "python"} <= set(facts)
    assert facts["made"].endswith("+00:00")


def test_provenance_names_the_commit_of_the_source_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        person = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        run = ["git", "-C", str(tmp_path), *person, *arguments]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()

    def commit() -> object:
        runtime._commit.cache_clear()
        return provenance()["commit"]

    source = tmp_path / "src" / "kinevec" / "runtime.py"
    source.parent.mkdir(parents=True)
    source.touch()
    monkeypatch.setattr(runtime, "__file__", str(source))
    try:
        assert commit() is None  # an installed copy, outside of any source tree
        try:
            git("init")
        except FileNotFoundError:
            pytest.skip("git is not here")
        assert commit() is None  # no commit yet
        git("add", ".")
        git("commit", "-m", "all")
        assert commit() == git("rev-parse", "--short=12", "HEAD")
        source.write_text("# changed")
        assert commit() == git("rev-parse", "--short=12", "HEAD") + "+"
    finally:
        runtime._commit.cache_clear()
