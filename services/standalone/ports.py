"""Loopback ports that stay the same from one start to the next, as long as nobody else takes them."""

from __future__ import annotations

import socket
from collections.abc import Mapping

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, or a port whose last connections are still in TIME_WAIT would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


class Ports:
    """One port for each name: the remembered one while it is free, else a new one."""

    def __init__(self, remembered: Mapping[str, int]) -> None:
        self.chosen: dict[str, int] = dict(remembered)
        self._checked: set[str] = set()

    def __getitem__(self, name: str) -> int:
        """Return the port of ``name``; it is looked at once, and then stays while this object lives."""
        if name not in self._checked:
            if name not in self.chosen or not is_free(self.chosen[name]):
                self.renew(name)
            self._checked.add(name)
        return self.chosen[name]

    def renew(self, name: str) -> int:
        """Choose another free port for ``name``, one that no other name has."""
        others = {port for other, port in self.chosen.items() if other != name}
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((LOOPBACK, 0))
                port: int = probe.getsockname()[1]
            if port not in others and port != self.chosen.get(name):
                break
        self.chosen[name] = port
        self._checked.add(name)
        return port
