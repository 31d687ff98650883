# SPDX-License-Identifier: GPL-2.0-only
"""Which addresses are given out, and that they come back."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import Api

POOL = [f"10.80.96.{last}" for last in range(85, 91)]


def test_lowest_free_first_and_given_back(api):
    made = [api.create() for _ in range(3)]
    assert [balancer["eip"] for balancer in made] == POOL[:3]
    api.delete(made[1])
    assert api.create()["eip"] == POOL[1]
    assert api.create()["eip"] == POOL[3]


def test_all_addresses_of_a_range_then_507(api, slb):
    assert [api.create()["eip"] for _ in POOL] == POOL
    answer = api.ask("POST", "/loadbalancer", {"name": "one too many", "port": 6443})
    assert answer.status == 507
    assert "10.80.96.85-10.80.96.90" in answer.json["error"]["message"]
    assert len(api.balancers()) == len(POOL)
    assert sorted(a for a in slb.addresses() if a.endswith("/32")) == [f"{a}/32" for a in POOL]


def test_creates_at_the_same_time_share_nothing(api):
    with ThreadPoolExecutor(len(POOL)) as pool:
        made = list(pool.map(lambda _: api.create()["eip"], POOL))
    assert sorted(made) == POOL


def test_an_address_may_be_asked_for(api):
    assert api.create(eip="10.80.96.88")["eip"] == "10.80.96.88"
    assert api.create()["eip"] == POOL[0]


def test_two_ports_on_one_address(api, slb):
    first = api.create(port=80)
    second = api.create(port=443, eip=first["eip"])
    assert second["eip"] == first["eip"]
    api.delete(first)
    assert f"{second['eip']}/32" in slb.addresses()
    api.delete(second)
    assert f"{second['eip']}/32" not in slb.addresses()


def test_the_same_address_and_port_twice_is_a_conflict(api):
    first = api.create(port=80)
    answer = api.ask("POST", "/loadbalancer", {"name": "x", "port": 80, "eip": first["eip"]})
    assert answer.status == 409
    assert len(api.balancers()) == 1


@pytest.mark.parametrize(
    ("ranges", "given"),
    (
        ("10.80.96.88/31", ["10.80.96.88", "10.80.96.89"]),
        ("10.80.96.90/32", ["10.80.96.90"]),
        (
            "10.80.96.89-10.80.96.90,10.80.96.86/32,10.80.96.85-10.80.96.85",
            ["10.80.96.85", "10.80.96.86", "10.80.96.89", "10.80.96.90"],
        ),
    ),
)
def test_ranges_and_networks(fresh_slb, lab, ranges, given):
    api = Api(lab, fresh_slb("--ipamRange", ranges))
    made = [api.create()["eip"] for _ in given]
    assert sorted(made) == given
    assert api.ask("POST", "/loadbalancer", {"name": "x", "port": 1}).status == 507


def test_an_address_in_use_on_the_segment_is_passed_over(fresh_slb, lab):
    lab.run("b3", ["ip", "address", "add", f"{POOL[0]}/32", "dev", "eth0"])
    try:
        api = Api(lab, fresh_slb("--ipamRange", "10.80.96.85-10.80.96.90"))
        assert api.create()["eip"] == POOL[1]
    finally:
        lab.run("b3", ["ip", "address", "del", f"{POOL[0]}/32", "dev", "eth0"])


# The tests above with an slb of their own need the node for themselves.
@pytest.fixture(autouse=True)
def _alone(request):
    if "fresh_slb" in request.fixturenames:
        slb = request.getfixturevalue("slb_of_module")
        slb.stop()
