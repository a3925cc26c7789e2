"""A client for what answers on this machine: cheap enough to be made for each question."""

from __future__ import annotations

import ssl
from typing import Final

import httpx

_NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody. Reading the certificates of all authorities takes 20 ms, and nothing here speaks TLS."""


def loopback_client(timeout_s: float) -> httpx.AsyncClient:
    """Return a client for plain HTTP, never through a proxy that the environment names."""
    return httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=_NO_TLS)
