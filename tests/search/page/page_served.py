"""An index that is served in this process, and how tests ask it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from kinevec.search.page.guard import TOKEN_HEADER
from kinevec.search.page.site import Site


@dataclass
class Served:
    """What stands behind the page, and a client that has its token."""

    folder: Path
    site: Site
    client: TestClient
    token: str

    def post(self, name: str, **given: object) -> dict[str, Any]:
        answer = self.client.post(f"/api/{name}", json=given, headers={TOKEN_HEADER: self.token})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found
