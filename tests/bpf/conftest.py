# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures: one network namespace and one loaded node for the session; a balanced service for each test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import bench as bench_module  # noqa: E402
import node as node_module  # noqa: E402


@pytest.fixture(scope="session")
def network():
    node_module.enter_network()


@pytest.fixture(scope="session")
def loaded_node(network):
    loaded = node_module.Node()
    yield loaded
    loaded.close()


@pytest.fixture
def node(loaded_node):
    loaded_node.reset()
    return loaded_node


@pytest.fixture
def make_node(network):
    """Nodes with tables of other sizes."""
    made = []

    def make(**sizes):
        made.append(node_module.Node(**sizes))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["xdp", "tc"])
def hook(request):
    return request.param


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request):
    return request.param


@pytest.fixture(params=[node_module.TCP, node_module.UDP], ids=["tcp", "udp"])
def protocol(request):
    return request.param


@pytest.fixture
def bench(node, hook, family, protocol):
    """A service with three backends, for each hook, family and protocol."""
    return bench_module.Bench(node, hook, family, protocol)


@pytest.fixture
def tcp_bench(node, hook, family):
    return bench_module.Bench(node, hook, family, node_module.TCP)


@pytest.fixture
def udp_bench(node, hook, family):
    return bench_module.Bench(node, hook, family, node_module.UDP)
