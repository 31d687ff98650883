# SPDX-License-Identifier: GPL-2.0-only
"""The API's own tests: a small server (api_server_main.c: the real API before a double of core) on a
port of 127.0.0.1 that the kernel picks, asked by curl or, where a request must be odd, by socket."""
import pathlib

import pytest

from harness import BUILD, Server


@pytest.fixture
def start():
    """Starts servers: start("-r", "1000"). Each must end in order, with nothing leaked."""
    servers = []

    def start_one(*options, program="server-asan"):
        server = Server(pathlib.Path(BUILD, program), options)
        servers.append(server)
        return server

    yield start_one
    for server in servers:
        server.stop()


@pytest.fixture(params=["at once", "later"])
def server(request, start):
    """A server whose core answers at once, or in a later turn of the loop."""
    return start("-P", *(["-a"] if request.param == "later" else []))


@pytest.fixture(scope="module")
def shared():
    """One server for many small questions."""
    server = Server(pathlib.Path(BUILD, "server-asan"), ["-P"])
    yield server
    server.stop()
