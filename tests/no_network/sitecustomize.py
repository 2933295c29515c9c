"""Cut the network, so that no test and no notebook can come to depend on it. Loopback and Unix sockets go on working.

Python imports a module of this name at start-up from the first folder on its path that has one. conftest.py puts this
folder first on PYTHONPATH, which kernels and other child processes inherit, and calls `block()` itself in the test
process.
"""

import importlib.machinery
import importlib.util
import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
LOCAL_NAMES = {"", "localhost", "localhost.localdomain", "ip6-localhost", socket.gethostname()}


class NetworkBlockedError(OSError):
    """Something tried to leave this machine. An OSError, as a missing network would raise."""


def _is_local(host: object) -> bool:
    if host is None:
        return True
    name = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host)
    if name.lower() in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse(host: object) -> None:
    if not _is_local(host):
        raise NetworkBlockedError(
            f"the tests cut the network, and something asked for {host!r}; "
            "use the data that ships with the course, or a file the test makes itself."
        )


def _guard_address(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method of socket whose last argument is an address: connect, connect_ex, sendto."""

    def guarded(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and args and isinstance(args[-1], tuple):
            _refuse(args[-1][0])
        return original(self, *args)

    return guarded


def _guard_name(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a name look-up, whose first argument is a host."""

    def guarded(host: object, *args: Any, **kwargs: Any) -> Any:
        _refuse(host)
        return original(host, *args, **kwargs)

    return guarded


def block() -> None:
    """Make connects, datagrams and name look-ups that leave this machine raise; calling it twice changes nothing.

    The class socket.socket is changed, not replaced, so that its subclasses (ssl's, for one) are blocked too.
    """
    if getattr(socket, "course_blocks_the_network", False):
        return
    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, _guard_address(getattr(socket.socket, name)))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        setattr(socket, name, _guard_name(getattr(socket, name)))
    socket.course_blocks_the_network = True  # type: ignore[attr-defined]


def _run_the_other_sitecustomize() -> None:
    """Run the sitecustomize that this one hides, if the environment has one of its own (a coverage tool's, say)."""
    elsewhere = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    block()
    _run_the_other_sitecustomize()
