"""Train and judge rows × sets × seeds, in as many pieces and processes as it takes.

    python benchmarks/science/sets.py SOURCE WORK                  once: the videos
    python benchmarks/science/run.py WORK --search                 choose settings on a training person held out
    python benchmarks/science/run.py WORK --rows moco,mscl,fima --sets unbiased --seeds 0,1,2
    python benchmarks/science/run.py WORK --collect                only write the results of what is done

A finished cell is skipped and an interrupted one resumed. With --budget-minutes it stops by itself, everything kept;
say the same command again. Several processes with the same WORK share the cells: each takes those that no other has.
Results: results/science/SIZE.json and, of the search, results/science/search_SIZE.json.
"""

import argparse
import contextlib
import itertools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

# Before PyTorch is loaded: two processes on two cores do more than one of two threads.
if not {"gpu", "--size=gpu"} & set(sys.argv):
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from cells import Cell, claimed, finished, run_cell
from results import chosen_settings, collect, collect_search
from rows import CANDIDATES, ROWS, SEARCHED, SETTINGS, SIZES, setting_of
from scenes import KINDS

from kinevec.errors import Interrupted, KinevecError
from kinevec.runtime import stop_requests


def main() -> int:
    """Runs the command; returns the exit code: 0 when all cells are done, 3 when some are left."""
    arguments = arguments_of()
    logging.basicConfig(level=logging.ERROR)
    work, size = arguments.work, arguments.size
    try:
        done = True
        if not arguments.collect:
            with budget(arguments.budget_minutes) as stopped:
                done = work_off(list(cells_of(arguments)), work, stopped)
        written = (collect_search if arguments.search else collect)(work, size)
        print(f"written: {written or 'nothing, no cell is done'}")
    except KinevecError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0 if done else 3


def arguments_of(line: Sequence[str] | None = None) -> argparse.Namespace:
    """What a command line asks for; None: the one of this process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    people = {"type": lambda text: text.split(","), "default": ["s7"]}
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--rows", type=names_of(ROWS), help="default: all; of a search, those it is made for")
    parser.add_argument("--sets", type=names_of(KINDS), default=["unbiased"])
    parser.add_argument("--seeds", type=numbers_of, default=[0, 1, 2])
    parser.add_argument("--search", action="store_true", help="try the settings instead, on unbiased, seed 0")
    parser.add_argument(
        "--settings",
        type=names_of(SETTINGS),
        help="default: of a search, its candidates; else for each row what the search chose",
    )
    parser.add_argument("--held", **people, help="training people held out, one after the other, of a search")
    parser.add_argument("--collect", action="store_true", help="train nothing, write what is done")
    parser.add_argument("--budget-minutes", type=float, default=0.0, help="0: until all is done")
    return parser.parse_args(line)


def work_off(cells: Sequence[Cell], work: Path, stopped: threading.Event) -> bool:
    """Does every cell that is not done and that no other process is at; returns whether all are done."""
    for cell in cells:
        if finished(cell, work):
            continue
        if stopped.is_set():
            break
        with claimed(cell.folder(work)) as ours:
            if not ours or finished(cell, work):  # another process may have finished it just now
                continue
            print(f"{cell} …", flush=True)
            try:
                found = run_cell(cell, work, stopped)
            except Interrupted as error:
                print(f"  {error}", flush=True)
                break
            scores = ", ".join(f"{name} {found['scores'][name]:.1f}" for name in ("R@1", "linear top-1"))
            print(f"  {scores}, {found['spent']['seconds'] / 60:.1f} minutes", flush=True)
    left = sum(finished(cell, work) is None for cell in cells)
    print(f"{len(cells) - left} of {len(cells)} cells are done", flush=True)
    return left == 0


def cells_of(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Seeds outermost, so that all rows can be compared as soon as the first seed is through."""
    if arguments.search:
        rows = arguments.rows or SEARCHED
        for held, name, row in itertools.product(arguments.held, arguments.settings or CANDIDATES, rows):
            yield Cell(row, "unbiased", 0, arguments.size, held, SETTINGS[name], name)
        return
    chosen = chosen_settings(arguments.size)
    for seed, kind, row in itertools.product(arguments.seeds, arguments.sets, arguments.rows or ROWS):
        asked = arguments.settings or [None]
        for name in dict.fromkeys(setting_of(row, chosen, one) for one in asked):
            yield Cell(row, kind, seed, arguments.size, None, SETTINGS[name], name)


@contextlib.contextmanager
def budget(minutes: float) -> Iterator[threading.Event]:
    """Inside, an event that is set when the time is up or somebody asks to stop.

    Training has a handler of its own for requests to stop, so the end of the time is told as one: SIGTERM to this
    process, again and again, since one that comes between two cells would not reach the next.
    """
    over = threading.Event()

    def ask() -> None:
        wait = 60 * minutes
        while not over.wait(wait):
            os.kill(os.getpid(), signal.SIGTERM)
            wait = 2.0

    clock = threading.Thread(target=ask, daemon=True)
    with stop_requests() as stopped:
        if minutes > 0:
            clock.start()
        try:
            yield stopped
        finally:
            over.set()
            if minutes > 0:
                clock.join()


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Reads names separated by commas."""
    allowed = list(known)

    def names(text: str) -> list[str]:
        found = text.split(",")
        if wrong := [name for name in found if name not in allowed]:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: not among {', '.join(allowed)}")
        return found

    return names


def numbers_of(text: str) -> list[int]:
    """Reads whole numbers separated by commas."""
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
