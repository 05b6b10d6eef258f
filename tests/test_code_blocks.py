"""Every code block of README and documentation is run, or checked where running it would take long or a GPU.

A page's blocks run in their order, in this process, in a folder that holds `videos/` (20 procedural videos),
`labelled/` (eight of them in class folders), `masks/`, `unlabelled/`, `nothing/`, `broken/`, and `runs/a`, `b`, `c` (three
seeds, each judged). Work is made
small on its way into `kinevec.tasks`: the commands and calls of the pages stay as they are written.
"""

import contextlib
import glob
import io
import json
import logging
import re
import shutil
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import code_blocks
from code_blocks import PLACEHOLDERS, ROOT, Block, blocks
from kinevec import cli, config, encoders, tasks
from kinevec.models import build_encoder
from smaller import make_smaller


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that every page starts from."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        make_smaller(patch)
        patch.chdir(folder)
        tasks.synth("videos")
        for label in ("bounce", "orbit", "spin", "zigzag"):
            for video in sorted(Path("videos/videos").glob(f"{label}*/*.mp4")):
                place = Path("labelled") / video.parent.name
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(video, place)
        shutil.copytree("labelled", "masks")
        _more_folders()
        for seed, name in enumerate("abc"):
            tasks.pretrain("moco", "labelled", f"runs/{name}", changes=[f"train.seed={seed}"])
            tasks.evaluate(f"runs/{name}", "labelled")
    return folder


def _more_folders() -> None:
    """Those that troubleshooting is about."""
    for name in ("unlabelled", "nothing", "broken/one"):
        Path(name).mkdir(parents=True)
    some = sorted(Path("labelled").rglob("*.mp4"))
    for video in some:
        shutil.copy(video, "unlabelled")
        shutil.copy(video, "broken")
    shutil.copy(some[0], "broken/one")
    Path("broken/empty.mp4").touch()
    Path("broken/notes.mp4").write_text(
        "Notes: nothing to be seen here, since this is text and not a video.\n"
    )


@pytest.fixture
def reader(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which this process is."""
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")
    make_smaller(monkeypatch)
    return folder


def spoken(words: list[str]) -> tuple[int, str]:
    """Exit code of a kinevec command in this process, and what it prints."""
    said, handlers = io.StringIO(), logging.getLogger("kinevec").handlers[:]
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(sys, "argv", ["kinevec", *words])
        stack.enter_context(contextlib.redirect_stdout(said))
        stack.enter_context(contextlib.redirect_stderr(said))
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            logging.getLogger("kinevec").handlers[:] = handlers
            signal.signal(signal.SIGTERM, before)
    return code, said.getvalue()


def expanded(words: list[str]) -> list[str]:
    """With places for placeholders, and what a shell makes of `*`."""
    out: list[str] = []
    for word in words:
        out += sorted(glob.glob(word)) if "*" in word else [PLACEHOLDERS.get(word, word)]
    shouted = {word for word in out if re.fullmatch(r"[A-Z_]{3,}", word)}
    assert not shouted, f"unknown placeholder {shouted}"
    return out


def run_command(words: list[str]) -> tuple[int, str]:
    if words[0] != "kinevec":
        code_blocks.check_foreign(words)
        return 0, ""
    arguments = expanded(words[1:])
    if code_blocks.only_checked(arguments):
        code_blocks.check_kinevec(arguments)
        return 0, ""
    return spoken(arguments)


def run_shell(block: Block) -> None:
    if block.text.startswith("#!"):
        code_blocks.check_script_block(block.text)
        return
    for words in code_blocks.commands(block.text):
        code, said = run_command(words)
        assert code == 0, f"{' '.join(words)}\n{said}"


def run_console(block: Block) -> None:
    """Lines after `$` are run; what stands below must come out, in order, with anything for `…`."""
    _, *turns = re.split(r"^\$ ", block.text, flags=re.M)
    assert turns, "no line begins with $"
    for turn in turns:
        command, _, expected = turn.partition("\n")
        (words,) = code_blocks.commands(command)
        code, said = run_command(words)
        assert (code != 0) == ("error: " in expected), said
        flat, at = " ".join(said.split()), 0
        for line in expected.splitlines():
            pattern = re.escape(" ".join(line.split())).replace("…", ".*?")
            found = re.compile(pattern).search(flat, at)
            assert found, f"{command}\ndoes not say\n{line}\nbut\n{said}"
            at = found.end()


def run_python(block: Block, names: dict[str, Any]) -> None:
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)


def check_data(block: Block) -> None:
    """A file: it can be read, and where it has a title, later blocks find it."""
    if block.language == "json":
        json.loads(block.text)
    if block.language == "toml":
        Path("written.toml").write_text(block.text, "utf-8")
        config.load(Path("written.toml"))
    if block.title:
        Path(block.title).write_text(block.text, "utf-8")


def check_messages(block: Block) -> None:
    for line in block.text.splitlines():
        assert code_blocks.is_said(line), f"the source says nothing like: {line}"


def run(block: Block, names: dict[str, Any]) -> None:
    if block.language in ("", "sh", "bash", "shell"):
        run_shell(block)
    elif block.language == "console":
        run_console(block)
    elif block.language == "python":
        run_python(block, names)
    elif block.language in ("toml", "json", "csv"):
        check_data(block)
    elif block.language == "text":
        check_messages(block)
    else:
        raise AssertionError(f"a block of the unknown kind '{block.language}'")


def given(page: Path) -> dict[str, Any]:
    """The names that a page takes as known; its files are written."""
    names: dict[str, Any] = {"__name__": "__main__"}
    if page.name == "evaluation.md":
        labelled = tasks.open_collection("labelled", encoders.load("untrained:tiny").config)
        for split in ("train", "test"):
            names[split] = labelled.only(lambda record, split=split: record.split == split)
    if page.name == "README.md":
        torch.save(build_encoder("i3d").state_dict(), "epoch_400.pth")  # weights of others
    return names


PAGES = [page for page in code_blocks.pages() if list(blocks(page))]


def run_page(page: Path, names: dict[str, Any]) -> None:
    """All blocks of a page; what fails comes out with its file and line."""
    for block in blocks(page):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default")  # of other packages, as in a reader's own shell
                run(block, names)
        except Exception as error:
            raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, reader: Path) -> None:
    run_page(page, given(page))


@pytest.mark.parametrize("page", code_blocks.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_are_there(page: Path) -> None:
    code_blocks.check_inline(page)


WRONG = {
    "rust": ("unknown kind 'rust'", "```rust\nfn main() {}\n```"),
    "command": ("evaluate", "```\nkinevec evaluate runs/a\n```"),
    "option": ("--prot", "```\nkinevec serve index --prot 80\n```"),
    "target": ("everything", "```\nmake everything\n```"),
    "option of a script": ("knows no --faster", "```\npython benchmarks/step.py --faster\n```"),
    "script": ("is not there", "```\npython benchmarks/steps.py\n```"),
    "extra": ("no extra gpu", "```\npip install 'kinevec[gpu]'\n```"),
    "placeholder": ("FILM", "```\nkinevec show runs/a FILM\n```"),
    "key": ("train.epoch", "```\nkinevec pretrain fima-k400 --data a -o b --set train.epoch=1\n```"),
    "option of a rank": (
        "--datas",
        "```\ntorchrun --nproc-per-node 8 -m kinevec pretrain moco --datas k400/\n```",
    ),
    "output": ("does not say", "```console\n$ kinevec presets\nnonsense\n```"),
    "exit code": ("fima-k400", "```console\n$ kinevec presets\nerror: …\n```"),
    "message": ("says nothing like", "```text\nerror: something that nobody says here\n```"),
    "toml": ("train.epoch", "```toml\n[train]\nepoch = 3\n```"),
    "python": ("loads", "```python\nimport kinevec\nkinevec.loads('runs/a')\n```"),
    "end": ("not closed", "```\nkinevec presets"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_block_is_noticed(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, text = WRONG[case]
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    with pytest.raises(AssertionError, match=re.escape(words)):
        run_page(page, {})
