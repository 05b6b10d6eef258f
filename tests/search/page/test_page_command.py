"""`kinevec serve`: how it starts, refuses to, and ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from kinevec import tasks
from kinevec.errors import ConfigError, InputError, OutputError


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def test_it_serves_until_ctrl_c_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kinevec", "serve", str(folder), "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        address = process.stdout.readline().split()[-1]
        assert address.startswith("http://127.0.0.1:")
        assert "kinevec" in urllib.request.urlopen(address, timeout=60).read().decode()
        urllib.request.urlopen(f"{address}media/clip/1.jpg", timeout=60).read()
        workers = children(process.pid)
        assert len(workers) == 2  # one for films, and the one with the encoder, which may still be starting
        assert (next(tmp_path.glob("kinevec-*")).stat().st_mode & 0o077) == 0
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read().endswith("Ended.\n")
        assert process.stderr.read() == ""
    for _ in range(50):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            break
        time.sleep(0.1)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert not list(tmp_path.glob("kinevec-*"))


def test_a_port_in_use_and_no_address(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            OutputError, match=rf"port {port} of 127\.0\.0\.1 cannot be had \(Address already in use\)"
        ):
            tasks.serve(folder, port=port)
    with pytest.raises(InputError, match="no such address"):
        tasks.serve(folder, host="no.such.host.invalid", port=0)
    with pytest.raises(InputError, match="no index is there"):
        tasks.serve(folder.parent, port=0)


def test_without_the_extra_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "kinevec.search.page.server", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'kinevec\[serve\]'"):
        tasks.serve(folder)


def test_beyond_loopback_the_address_has_a_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    told: list[str] = []
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        tasks.serve(folder, host=host, port=0, on_ready=told.append)
    assert ["?key=" in address for address in told] == [False, False, True]
    assert [tasks.is_loopback(host) for host in ("::1", "127.1.2.3", "192.168.0.1", "example.org")] == [
        True,
        True,
        False,
        False,
    ]
