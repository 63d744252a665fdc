"""By which ways two engines reach each other, as far as it can be seen from here."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator

from llmd_py.doctor.engine import Engine
from llmd_py.doctor.finding import Finding, ok, warning, wrong
from llmd_py.doctor.machine import is_here

__all__ = ["transports"]

CONNECT_WITHIN = 2.0
FOLDER = 'name one folder in both: "kv_connector_extra_config":{"folder":"/shared/llmd"}; in containers, a volume that both mount'


def transports(engines: list[Engine]) -> Iterator[Finding]:
    """Where are their agents found, and is that a place that the others reach?"""
    listening = [(engine, engine.handed.addresses()) for engine in engines if engine.handed is not None]
    if not listening:
        return
    if not all(addresses for _, addresses in listening):
        yield warning("transports", "a grant could not be read", "install the same llmd-py here as on the engines")
        return
    apart = len({engine.host for engine in engines}) > 1
    yield from _shm(listening, apart)
    for engine, addresses in listening:
        for place in (place for transport, place in addresses if transport == "tcp"):
            yield _tcp(engine, place, apart)
    if apart and any(not any(transport in ("tcp", "nixl") for transport, _ in addresses) for _, addresses in listening):
        yield wrong("tcp", "they are at different addresses, and an engine is not found by TCP", 'add "tcp" to "transports" of kv_connector_extra_config')


def _shm(listening: list[tuple[Engine, list[tuple[str, str]]]], apart: bool) -> Iterator[Finding]:
    sockets = {engine.name: [place for transport, place in addresses if transport == "shm"] for engine, addresses in listening}
    folders = {os.path.dirname(place) for places in sockets.values() for place in places}
    if not all(sockets.values()) or not folders:
        if not apart:
            yield warning("shared memory", "an engine does not offer it", 'add "shm" to "transports" of kv_connector_extra_config')
        return
    if len(folders) > 1:
        yield warning("shared memory", f"the engines' sockets are in {' and '.join(sorted(folders))}", FOLDER)
        return
    (folder,) = folders
    gone = [place for engine, _ in listening if is_here(engine.host) for place in sockets[engine.name] if not os.path.exists(place)]
    if gone:
        yield warning("shared memory", f"{gone[0]} is not to be seen from here: perhaps it is not from the other engine either", FOLDER)
    else:
        yield ok("shared memory", f"sockets in {folder}" + (", if they are on one machine" if apart else ""))


def _tcp(engine: Engine, place: str, apart: bool) -> Finding:
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        ip = None
    if ip is not None and (ip.is_unspecified or (apart and ip.is_loopback)):
        return wrong("tcp", f"{engine.name} is to be found at {place}, which no other machine reaches", f"start {engine.name} with VLLM_HOST_IP=ADDRESS")
    try:
        socket.create_connection((host, int(port)), CONNECT_WITHIN).close()
    except (OSError, ValueError) as error:
        change = f"let the other engine connect to {place} (firewall, VLLM_HOST_IP), or fix the port: \"transports\":[\"tcp://{host}:PORT\"]"
        return warning("tcp", f"{engine.name} at {place} is not reached from here: {error}", change)
    return ok("tcp", f"{engine.name} at {place} is reached from here")
