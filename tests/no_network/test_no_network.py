"""The network is cut in this process, in its children and for the libraries that would use it; loopback is not."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import requests

HERE = Path(__file__).resolve().parent
OUTSIDE = "192.0.2.1"  # RFC 5737: an address that belongs to nobody
REFUSED = "the tests cut the network"


def child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: socket.create_connection((OUTSIDE, 80), timeout=5),
        lambda: socket.getaddrinfo("example.org", 443),
        lambda: socket.gethostbyname("example.org"),
        lambda: urllib.request.urlopen("https://example.org", timeout=5),
        lambda: requests.get(f"http://{OUTSIDE}", timeout=5),
        lambda: requests.get("https://huggingface.co", timeout=5),
    ],
    ids=["connect", "getaddrinfo", "gethostbyname", "urllib", "requests by address", "requests by name"],
)
def test_this_process_cannot_leave_the_machine(attempt):
    with pytest.raises(OSError, match=REFUSED):
        attempt()


def test_datagrams_and_connect_ex_are_refused_too():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, pytest.raises(OSError, match=REFUSED):
        datagrams.sendto(b"x", (OUTSIDE, 53))
    with socket.socket() as stream, pytest.raises(OSError, match=REFUSED):
        stream.connect_ex((OUTSIDE, 80))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_works(host):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1]), timeout=5) as client,
    ):
        peer, _ = server.accept()
        with peer:
            client.sendall(b"hello")
            assert peer.recv(5) == b"hello"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_unix_sockets_work(tmp_path):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(os.path.relpath(tmp_path / "s"))
        server.listen()
        client.connect(os.path.relpath(tmp_path / "s"))
        assert client.getpeername()


def test_a_child_process_is_blocked():
    result = child(f"import socket; socket.create_connection(({OUTSIDE!r}, 80), 5)")
    assert result.returncode == 1
    assert REFUSED in result.stderr


def test_the_hub_client_is_blocked_even_when_it_is_told_to_go_online():
    code = "from huggingface_hub import HfApi; HfApi().model_info('bert-base-uncased', timeout=5)"
    result = child(code, HF_HUB_OFFLINE="0")
    assert result.returncode == 1
    assert REFUSED in result.stderr


def test_another_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['THE_OTHER_ONE'] = 'ran'")
    result = child(
        f"import os, socket; print(os.environ['THE_OTHER_ONE']); socket.create_connection(({OUTSIDE!r}, 80), 5)",
        PYTHONPATH=os.pathsep.join([str(HERE), str(tmp_path)]),
    )
    assert result.stdout.strip() == "ran"
    assert REFUSED in result.stderr


def test_kernels_inherit_the_block_and_the_strictness():
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(HERE)
    assert os.environ["COURSE_STRICT_CLAIMS"] == "1"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
