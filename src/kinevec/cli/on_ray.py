"""Options of commands that can work on Ray."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinevec.cluster import Cluster

RayOption = Annotated[
    bool, typer.Option("--ray", help="Work on Ray (kinevec[ray]); one is started here unless one is named.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="Work on a running Ray: HOST:PORT, or auto for the one on this machine; default: RAY_ADDRESS.",
    ),
]
WorkersOption = Annotated[
    int, typer.Option(min=0, help="With --ray: processes, of one CPU each; 0: as many as there is room for.")
]
GpusOption = Annotated[
    float,
    typer.Option(
        "--ray-gpus", min=0, help="With --ray: what each process takes of a GPU; 0: compute on CPUs."
    ),
]


def chosen_cluster(ray: bool, address: str | None, workers: int, gpus: float = 0.0) -> "Cluster | None":
    """Where to work; None: here, in processes of our own.

    Raises:
        ConfigError: Ray is not installed, or a number makes no sense.
    """
    if not ray and address is None:
        return None
    from kinevec.cluster import Cluster

    return Cluster(address, workers, gpus)
