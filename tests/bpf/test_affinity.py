# SPDX-License-Identifier: GPL-2.0-only
"""Affinity: a client's new flows go where its last one went."""

import pytest

import node as n
from bench import BACKEND_PORT, VIP_PORT, Bench
from node import SLB
from packets import frame

AFFINITY_S = 60


@pytest.fixture
def bench(node, hook, family, protocol):
    return Bench(node, hook, family, protocol, affinity_s=AFFINITY_S)


def write(bench, backend_id, **values):
    bench.node.write_backend(backend_id, bench.service,
                             bench.own["backend"][bench.backends[backend_id]], BACKEND_PORT,
                             bench.sources, **values)


def key(bench, client=None, service=None):
    return n.TYPES.pack("slb_affinity_key", service_id=service or bench.service,
                        family={4: 2, 6: 10}[bench.family], client=n.packed(client or bench.client))


def remembered(bench, client=None):
    value = bench.node.maps["affinities"].read(key(bench, client))
    return value and n.TYPES.unpack("slb_affinity", value)


def age(bench, seconds):
    """As if the client's last flow had begun that long ago."""
    value = remembered(bench)
    value["seen_s"] = (bench.node.now_s() - seconds) % (1 << 32)
    bench.node.maps["affinities"].write(key(bench), n.TYPES.pack("slb_affinity", **value))


def chosen(bench, count, client=None):
    return [bench.begin(client=client).backend_id for _ in range(count)]


def test_clients_stick(bench):
    first, second, third = bench.backends
    assert chosen(bench, 5) == [first] * 5
    assert chosen(bench, 5, bench.own["near"]) == [second] * 5
    assert chosen(bench, 1) == [first]
    assert remembered(bench)["backend_id"] == first
    assert len(bench.node.maps["affinities"].items()) == 2
    assert third not in {f["common"]["backend_id"]
                         for _, f in bench.node.flows(bench.family, half_open=True)}


def test_off(node, hook, family, protocol):
    bench = Bench(node, hook, family, protocol)
    assert chosen(bench, 3) == list(bench.backends)
    assert not bench.node.maps["affinities"].items()


def test_it_ends(bench):
    first, second, third = bench.backends
    assert chosen(bench, 1) == [first]
    age(bench, AFFINITY_S - 5)
    assert chosen(bench, 1) == [first]
    assert bench.node.now_s() - remembered(bench)["seen_s"] < 5  # counted from the last flow on
    age(bench, AFFINITY_S)
    assert chosen(bench, 2) == [second] * 2
    age(bench, -1)  # another CPU's clock
    assert chosen(bench, 1) == [second]
    age(bench, 1 << 31)
    bench.node.write_service(bench.service, affinity_s=1)
    age(bench, 2)
    assert chosen(bench, 1) == [third]


@pytest.mark.parametrize("why", ["drained", "disabled", "deleted", "given to another service"])
def test_a_backend_that_takes_no_new_flows(bench, why):
    first, second, third = bench.backends
    old = bench.connect()
    assert old.backend_id == first
    write(bench, first, **{"drained": {"flags": SLB["SLB_BACKEND_NO_NEW"]},
                           "disabled": {"flags": SLB["SLB_BACKEND_DISABLED"]},
                           "deleted": {"type": SLB["SLB_BACKEND_NONE"]},
                           "given to another service": {}}[why])
    if why == "given to another service":
        bench.node.write_backend(first, bench.service + 1, bench.own["backend"][11], BACKEND_PORT)
    bench.node.set_schedule(bench.service, [third, second])
    moved = chosen(bench, 3)
    assert len(set(moved)) == 1 and first not in moved
    assert remembered(bench)["backend_id"] == moved[0]
    if why == "drained":
        bench.node.raise_generation()
        old.request()
        old.reply()


def test_services_do_not_share(bench):
    bench.begin()
    other = bench.node.add_service(bench.vip, VIP_PORT + 1, bench.protocol, affinity_s=AFFINITY_S)
    bench.node.maps["affinities"].write(key(bench, service=other),
                                        n.TYPES.pack("slb_affinity", backend_id=1,
                                                     seen_s=bench.node.now_s()))
    # What is remembered is a backend of the first service: none of this one's.
    data = frame(bench.family, bench.protocol, bench.client, 5, bench.vip, VIP_PORT + 1, flags="S")
    bench.send(data)
    assert bench.node.drops(other) == {"NO_BACKEND": 1}


def test_refused_flows_are_not_remembered(bench):
    for backend_id in bench.backends:
        write(bench, backend_id, flags=SLB["SLB_BACKEND_DISABLED"])
    assert bench.send(bench.to_vip(5, flags="S"))[0] == n.DROP
    assert remembered(bench) is None
