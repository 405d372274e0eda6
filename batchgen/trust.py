"""Whose certificates are believed: the usual authorities, read once."""

import ssl
from functools import cache

import httpx


@cache
def trust() -> ssl.SSLContext:
    """The context of every connection; reading the authorities costs 20 ms."""
    return httpx.create_ssl_context(trust_env=False)
