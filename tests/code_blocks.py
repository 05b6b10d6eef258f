"""The fenced blocks of a page, and what a shell line in them says, without running it."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from kinevec import config
from kinevec.cli import app
from kinevec.data.official import OFFICIAL

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "kinevec"

# Presets that train within seconds here, once they are made small; the others need a GPU and their configuration alone
# is read.
SMALL_PRESETS = ("moco", "mscl", "fima")

# What stands for a place of the reader's own → what it is in the folder that the blocks run in.
PLACEHOLDERS = {
    "VIDEO": "videos/videos/spin/spin_00000.mp4",
    "QUERY.mp4": "videos/videos/spin/spin_00000.mp4",
    "VIDEOS": "videos",
    "FOLDER": "videos",
    "RUN": "runs/a",
    "INDEX": "index",
    "MODEL": "model",
}
ALLOWED_WORDS = {"UTD_MHAD_DEPTH", "WORK", "FOLDER", "HOST:29500"}  # of commands that are not run


@dataclass(frozen=True)
class Block:
    """A fenced block: where its first line stands, what it is written in, its title, and its lines."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}, line {self.line}"


def pages() -> list[Path]:
    """README and all pages of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    for number, line in lines:
        opening = re.fullmatch(r"( *)(```+|~~~+)([\w+-]*)(.*)", line)
        if not opening:
            continue
        indent, fence, language, more = opening.groups()
        title = re.search(r'title="([^"]+)"', more)
        held = []
        for _, inner in lines:
            if inner.strip() == fence:
                break
            held.append(inner.removeprefix(indent))
        else:
            raise AssertionError(f"{page}, line {number}: the block is not closed")
        yield Block(page, number + 1, language, title[1] if title else "", "\n".join(held) + "\n")


def commands(text: str) -> list[list[str]]:
    """The words of each shell command; comments and continued lines are understood, nothing is expanded."""
    joined = re.sub(r"\\\n\s*", " ", text)
    plain = re.sub(r"(?<!\S)#.*", "", joined)  # as in a shell, a # within a word begins no comment
    split = [shlex.split(line) for line in plain.splitlines()]
    return [words for words in split if words]


def only_checked(words: Sequence[str]) -> bool:
    """Whether a command of ours is not run here: a server, data that are not here, a GPU's job, or the long demo."""
    name, *rest = words
    if name == "pretrain":
        return rest[0] in config.presets() and rest[0] not in SMALL_PRESETS
    return name in ("serve", "demo") or "--official" in rest or "--ray" in rest


def check_kinevec(words: Sequence[str]) -> None:
    """The command is there and takes these options and values; presets and their changes can be read."""
    name, *rest = words
    command = _commands()[name]
    params: dict[str, Any] = command.make_context(name, list(rest)).params
    if name == "pretrain" and not params["preset"].endswith(".toml"):
        config.load(params["preset"], params["changes"])
    if params.get("official"):
        assert params["official"] in OFFICIAL


def check_foreign(words: Sequence[str]) -> None:
    """A command that is not run: what it names is there."""
    first, *rest = words
    shouted = {word for word in rest if re.fullmatch(r"[A-Z_]{3,}(:\d+)?", word)} - ALLOWED_WORDS
    assert not shouted, f"unknown placeholder {shouted}"
    if first == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        for word in rest:
            assert word in targets or re.fullmatch(r"(VIDEOS|OUT|PYTHON|VENV)=.+", word), word
    elif first == "torchrun":
        check_torchrun(rest)
    elif first == "python":
        check_script(rest)
    elif first == "pip":
        check_pip(rest)
    else:
        known = {
            "tensorboard": "--logdir",
            "wandb": "sync",
            "git": "clone",
            "ray": "start",
            "cd": "",
            "sbatch": "",
            "ssh": "-L",
        }
        assert known.get(first, " ") in [*rest, ""], f"{first}: unknown kind of command"


def check_torchrun(words: Sequence[str]) -> None:
    from torch.distributed.run import get_args_parser

    found = get_args_parser().parse_args(list(words))
    assert found.module
    assert found.training_script == "kinevec"
    check_kinevec([word for word in found.training_script_args if word != "$RESUME"])


def check_script(words: Sequence[str]) -> None:
    """A script of the repository, which knows the options, itself or through a script beside it."""
    script = ROOT / words[0]
    assert script.is_file(), f"{script} is not there"
    known = words_of(script)
    for word in words[1:]:
        assert not word.startswith("--") or word.partition("=")[0] in known, f"{script.name} knows no {word}"


def words_of(script: Path) -> set[str]:
    """The strings of a script and of the scripts beside it that it imports."""
    nodes = list(ast.walk(ast.parse(script.read_text("utf-8"))))
    found = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    for beside in (script.with_name(f"{module}.py") for module in modules):
        if beside.is_file():
            found |= words_of(beside)
    return found


def check_pip(words: Sequence[str]) -> None:
    """Extras of ours that are installed exist."""
    assert words[0] == "install"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for word in words[1:]:
        ours = re.fullmatch(r"(?:kinevec|\.)\[(.+)\]", word)
        for extra in ours[1].split(",") if ours else ():
            assert extra in extras, f"there is no extra {extra}"


def check_script_block(text: str) -> None:
    """A batch script: the lines that start kinevec mean something."""
    found = [words for words in commands(text) if "torchrun" in words or "kinevec" in words]
    assert found
    for words in found:
        if "torchrun" in words:
            check_torchrun(
                [
                    re.sub(r"\$\w+", "4", w) if w != "$RESUME" else w
                    for w in words[words.index("torchrun") + 1 :]
                ]
            )
        else:
            check_kinevec(words[words.index("kinevec") + 1 :])


def check_inline(page: Path) -> None:
    """Commands in the running text: they are there, and so are their options."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    for code in re.findall(r"`(kinevec [a-z][^`]*)`", prose):
        words = code.replace("\n", " ").split()[1:]
        assert words[0] in _commands(), f"{page.name}: `{code}`"
        known = {
            option
            for param in _commands()[words[0]].params
            for option in (*param.opts, *param.secondary_opts)
        }
        for word in words[1:]:
            assert not word.startswith("-") or word.partition("=")[0] in known | {"--help"}, (
                f"{page.name}: `{code}`"
            )


def is_said(line: str) -> bool:
    """Whether a string of the source says most of a line; values may stand in its gaps."""
    said = line.strip().removeprefix("error: ").removeprefix("warning: ").removeprefix("info: ")
    found = (pattern.search(said) for pattern in _sentences())
    return any(len(match[0]) > 0.6 * len(said) for match in found if match)


@cache
def _commands() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@cache
def _sentences() -> list[re.Pattern[str]]:
    """Every longer string of the source as a pattern, with gaps for values."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            fixed = "".join(text for text in texts if isinstance(text, str))
            if len(fixed) < 18 or "\n" in fixed:
                continue
            pattern = "".join(re.escape(text) if isinstance(text, str) else ".+" for text in texts)
            found.append(re.compile(re.sub(r"%[\d.,]*[a-z%]", ".+", pattern)))
    return found
