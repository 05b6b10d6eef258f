"""Serve the page of an index."""

import ipaddress
import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from kinevec.data.places import check_file
from kinevec.errors import ConfigError, InputError, OutputError
from kinevec.search.index import Index
from kinevec.search.labels import SUFFIX

LABELS = Path("labelled") / "labels.csv"  # below the index


def serve(
    index: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    labels: str | Path | None = None,
    device: str = "auto",
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves a page to search, look at and label the clips of an index, until Ctrl-C.

    Beyond loopback the page opens only with the key in the address that `on_ready` is told.

    Args:
        port: 0: any that is free.
        labels: CSV that labels are saved to, with files beside it in a folder of the same name; None: below the index.
        device: where to embed what is searched for.
        on_ready: is told the address once it can be opened.

    Raises:
        ConfigError: starlette and uvicorn are not installed.
        InputError: there is no such index or host.
        OutputError: the port is in use, or labels cannot be saved where they are to go.
    """
    try:
        from kinevec.search.page.app import make_app
        from kinevec.search.page.guard import Secrets, local_names
        from kinevec.search.page.server import Server
        from kinevec.search.page.site import Site
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kinevec"):
            raise
        raise ConfigError(f"the page needs {error.name}: pip install 'kinevec[serve]'") from error
    beyond = not is_loopback(host)
    secret = Secrets(key=secrets.token_urlsafe(24) if beyond else None)
    target = Path(labels) if labels else Path(index) / LABELS
    check_file(target)
    if target.suffix.lower() != SUFFIX:
        raise InputError(f"{target}: labels are saved to a list that ends in {SUFFIX}")
    with (
        Index.open(Path(index)) as opened,
        _listening(host, port) as listener,
        tempfile.TemporaryDirectory(prefix="kinevec-") as folder,
    ):
        site = Site(opened, Path(folder), target, device)
        app = make_app(site, secret, (host, *(local_names() if beyond else ())))
        server = Server(app, site)
        if on_ready:
            on_ready(_address(host, listener.getsockname()[1], secret.key))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # that is how it is meant to end
            return
        finally:
            site.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """A socket at which the page can be reached from now on."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(f"--host {host}: no such address ({error.strerror})") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        why = f"port {port} of {host} cannot be had ({error.strerror}): choose another with --port"
        raise OutputError(why) from error
    return listener


def _address(host: str, port: int, key: str | None) -> str:
    name = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    return f"http://{name}:{port}/" + (f"?key={key}" if key else "")
