"""The command line: each command is a call of `kinevec.tasks`, spoken; the only room that prints."""

import logging
import shlex
import shutil
import signal
import sys
from pathlib import Path

from kinevec.cli.app import app, console, say
from kinevec.errors import Interrupted, KinevecError

# Each adds its commands to the application; --help lists them in this order.
# isort: off
from kinevec.cli import videos  # noqa: F401
from kinevec.cli import training  # noqa: F401
from kinevec.cli import judging  # noqa: F401
from kinevec.cli import auditing  # noqa: F401
from kinevec.cli import showing  # noqa: F401
from kinevec.cli import exchange  # noqa: F401
from kinevec.cli import comparing  # noqa: F401
from kinevec.cli import searching  # noqa: F401
from kinevec.cli import serving  # noqa: F401
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Runs the command line; what goes wrong comes out as one line and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: files are tidied up
    try:
        app()
    except Interrupted as stop:
        console.print(str(stop), style="yellow", highlight=False, markup=False, soft_wrap=True)
        from kinevec.ranks import follows  # what can be interrupted has loaded PyTorch already

        if sys.argv[1:2] in (["pretrain"], ["demo"]) and not follows():
            resume = sys.argv[1] == "pretrain" and "--resume" not in sys.argv
            say(f"Go on: {shlex.join([_ourselves(), *sys.argv[1:], *(['--resume'] if resume else [])])}")
        sys.exit(stop.exit_code)
    except KinevecError as error:
        _fail(error, str(error), error.exit_code)
    except OSError as error:  # a disk that fills up, a share that goes away
        _fail(error, str(error), 1)
    except Exception as error:
        _fail(error, f"{type(error).__name__}: {error} (not foreseen; --debug shows where)", 1)


def _ourselves() -> str:
    """How we are called: by our place, as make does, where the shell would not find us."""
    return sys.argv[0] if Path(sys.argv[0]).name == "kinevec" and not shutil.which("kinevec") else "kinevec"


def _fail(error: Exception, words: str, code: int) -> None:
    if logging.getLogger("kinevec").isEnabledFor(logging.DEBUG):
        raise error
    console.print(f"error: {words}", style="bold red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)
