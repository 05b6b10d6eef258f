"""Ray: where it runs, and how it is joined."""

import contextlib
import importlib.util
import logging
import os
import re
import signal
import socket
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from kinevec.errors import ConfigError, InputError
from kinevec.runtime import cores

_ANSWER_SECONDS = 10  # for a Ray that was named
_STORE_BYTES = (
    500_000_000  # of a Ray of our own: only the encoders lie there for long; what is more goes to disk
)


@dataclass(frozen=True)
class Cluster:
    """Where parts are worked on.

    Args:
        address: of a running Ray, as HOST:PORT, or "auto" for the one that runs on this machine. None: the one that
            the variable RAY_ADDRESS names; else one is started on this machine, and ends with the work.
        workers: processes, of one CPU each; 0: as many as the cluster has room for when the work begins. More than
            that are waited for, which is how an autoscaler is told to add machines.
        gpus: what each worker takes of a GPU, as 0.25, or how many; 0: it computes on its CPU.

    Raises:
        ConfigError: Ray is not installed, or a number makes no sense.
    """

    address: str | None = None
    workers: int = 0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ConfigError("working on Ray needs the package ray: pip install 'kinevec[ray]'")
        if self.workers < 0 or not (0 <= self.gpus <= 1 or self.gpus == int(self.gpus) > 0):
            raise ConfigError(
                f"{self.workers} workers with {self.gpus:g} GPUs each: give no less than 0 workers (0: as many as "
                "fit), and a share of a GPU from 0 to 1, or a whole number of them"
            )

    @property
    def device(self) -> torch.device:
        """What workers compute on."""
        return torch.device("cuda" if self.gpus else "cpu")

    @property
    def own(self) -> bool:
        """Whether a Ray is started for the work, rather than joined."""
        return self.address is None and not os.environ.get("RAY_ADDRESS")


@contextlib.contextmanager
def joined(cluster: Cluster) -> Iterator[Any]:
    """The module of Ray, connected while this is open, and longer where the program had joined it before.

    Raises:
        InputError: there is no Ray at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _own_handlers(), _loopback(cluster.own):
        import ray

        there = ray.is_initialized()
        if not there and cluster.own:
            _connect(
                ray,
                address="local",
                num_cpus=cluster.workers or cores(),
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
            )
        elif not there:
            _connect(ray, address=_answering(cluster.address or os.environ["RAY_ADDRESS"]))
    try:
        yield ray
    finally:
        if not there:
            ray.shutdown()


def room(ray: Any, cluster: Cluster) -> int:
    """How many workers fit into the cluster as it is, but at least one.

    Raises:
        InputError: a GPU is asked for, and this machine, which is all of it, has none.
    """
    there = ray.cluster_resources()
    room = int(there.get("CPU", 0))
    if cluster.gpus:
        room = min(room, int(there.get("GPU", 0) / cluster.gpus))
        if not room and cluster.own:
            raise InputError(
                "there is no GPU for Ray on this machine: leave --ray-gpus out, or join a cluster"
            )
    return max(1, room)


def reason(error: Exception) -> str:
    """Why Ray lost something, in one line: its messages have many, most of them numbers of its own."""
    text = " ".join(str(error).split())
    detail = re.search(r"exit detail: (.+)", text)
    return f"{type(error).__name__}: {textwrap.shorten(detail[1] if detail else text, 240, placeholder=' …')}"


def _answering(address: str) -> str:
    """The address, if something answers there: Ray itself tries for minutes.

    Raises:
        InputError: nothing does.
    """
    if found := re.fullmatch(r"([^/]+):(\d+)", address):
        try:
            socket.create_connection((found[1], int(found[2])), _ANSWER_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise InputError(
                f"no Ray answers at {address} ({error}); its head node says where it is"
            ) from error
    return address


def _connect(ray: Any, **arguments: Any) -> None:
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
        ray._private.worker._worker_logs_enabled = False  # what we say ourselves: a worker was lost
    except (ConnectionError, ValueError, RuntimeError) as error:
        if arguments["address"] == "auto":
            raise InputError("no Ray runs on this machine: start one with `ray start --head`") from error
        raise InputError(f"cannot work on Ray: {reason(error)}") from error


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Ray puts a handler of its own for SIGTERM in place of ours; this takes it back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:
                signal.signal(number, handler)


@contextlib.contextmanager
def _loopback(wanted: bool) -> Iterator[None]:
    """Ray that is started for one machine listens to that machine only. The variable is named after the systems on
    which that is the default; Ray reads it when it is imported."""
    name = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    if not wanted or name in os.environ:
        yield
        return
    os.environ[name] = "0"
    try:
        yield
    finally:
        del os.environ[name]
