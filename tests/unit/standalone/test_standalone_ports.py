"""Ports stay the same while they are free."""

from __future__ import annotations

import socket

from services.standalone.ports import LOOPBACK, Ports, is_free


def test_a_remembered_port_is_kept_while_it_is_free() -> None:
    first = Ports({})
    port = first["kafka"]
    assert is_free(port)
    assert Ports(first.chosen)["kafka"] == port


def test_a_remembered_port_that_somebody_took_is_replaced() -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        taken = other.getsockname()[1]
        assert not is_free(taken)
        ports = Ports({"kafka": taken})
        assert ports["kafka"] != taken
        assert ports.chosen == {"kafka": ports["kafka"]}


def test_a_port_is_looked_at_once_and_then_stays_though_its_own_server_listens() -> None:
    ports = Ports({})
    with socket.create_server((LOOPBACK, ports["postgres"])) as own:
        assert ports["postgres"] == own.getsockname()[1]


def test_no_two_names_get_the_same_port() -> None:
    ports = Ports({})
    assert len({ports[str(name)] for name in range(50)}) == 50
    before = ports["0"]
    assert ports.renew("0") not in {before, *(ports[str(name)] for name in range(1, 50))}
