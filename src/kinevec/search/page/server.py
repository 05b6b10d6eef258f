"""The server: ends at once when it is told to, though films may just be made."""

import socket

import uvicorn
from starlette.concurrency import run_in_threadpool

from kinevec.search.page.guard import Guard
from kinevec.search.page.site import Site

GRACE = 2  # seconds for answers that are under way


class Server(uvicorn.Server):
    """Runs the application until Ctrl-C; the workers of its site end with it.

    Args:
        app: of this site.
        site: what it asks.
    """

    def __init__(self, app: Guard, site: Site) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE,
            ws="none",
            server_header=False,
        )
        super().__init__(config)
        self.site = site

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the workers first: requests that wait for them are answered then."""
        await run_in_threadpool(self.site.close)
        await super().shutdown(sockets)
