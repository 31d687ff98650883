# SPDX-License-Identifier: GPL-2.0-only
"""
What a packet may cost, in instructions and calls (steps.py), never in time: what a packet of an established flow does,
to the call; and what the verifier has to go through to load the programs.

The limits leave some room for compilers. Who needs more raises them here, with the change that needs it, and says what
`make bench B=micro` says to it.
"""

import re

import pytest

import steps
from node import IN, OUT, device_index

# Instructions of one packet of an established flow.
ESTABLISHED = {("xdp", 4): 210, ("xdp", 6): 210, ("tc", 4): 250, ("tc", 6): 250}
NEW_FLOW = {("xdp", 4): 1200, ("xdp", 6): 1500, ("tc", 4): 1300, ("tc", 6): 1600}
FOREIGN = {"xdp": 290, "tc": 320}
# Lookups in hash tables for a new flow: two in flows (the packet, the source port), one in services, two in half_open
# (the packet, and the entry just made).
NEW_FLOW_LOOKUPS = 5

# What the verifier goes through to load slb_xdp or slb_tc; the kernel gives up at 1,000,000, and
# loading takes a second for every few 100,000.
VERIFIED = 350_000


def walk(bench, data, device=IN):
    index = device_index(device)
    context = steps.xdp_context(index) if bench.hook == "xdp" else steps.tc_context(index, len(data))
    node = bench.node
    maps = node.maps if bench.hook == "xdp" else node.tc.maps
    return steps.Steps(maps, node.programs[bench.hook], bytes(data), context)


def calls(counts):
    return {name: count for name, count in counts.items() if name != "instructions"}


@pytest.mark.parametrize("direction", ["request", "reply"])
def test_established_path_is_one_flow_lookup(bench, direction):
    connection = bench.connect()
    if direction == "request":
        walked = walk(bench, connection.request_frame())
    else:
        walked = walk(bench, connection.reply_frame(), OUT)
    expected = {f"map_lookup_elem flows{bench.family}": 1, "map_lookup_elem config": 1,
                "map_lookup_elem backend_counters": 1, "jiffies64": 1, "redirect": 1}
    if bench.hook == "tc":
        expected |= {"csum_level": 1, "l4_csum_replace": 2}
        if bench.family == 6:
            expected["csum_update"] = 1
    assert calls(walked.counts) == expected
    assert walked.counts["instructions"] <= ESTABLISHED[bench.hook, bench.family]
    assert walked.verdict == (4 if bench.hook == "xdp" else 7)


def test_new_flow(tcp_bench):
    walked = walk(tcp_bench, tcp_bench.to_vip(30001, flags="S"))
    counts, family = walked.counts, tcp_bench.family
    # steps' fib_lookup finds the same device.
    assert walked.verdict == (3 if tcp_bench.hook == "xdp" else 7)
    assert counts[f"map_update_elem half_open{family}"] == 2
    hashes = sum(count for name, count in counts.items()
                 if re.match(r"map_lookup_elem (flows|half_open|services)", name))
    assert hashes <= NEW_FLOW_LOOKUPS, calls(counts)
    assert counts["fib_lookup"] == 1
    assert counts["instructions"] <= NEW_FLOW[tcp_bench.hook, family]


def test_foreign_packet_pays_two_lookups(bench):
    data = bench.to_vip(30001)
    bench.node.remove_service(bench.vip, 80, bench.protocol)
    walked = walk(bench, data)
    assert walked.verdict == (2 if bench.hook == "xdp" else -1)
    assert calls(walked.counts).keys() <= {
        f"map_lookup_elem flows{bench.family}", f"map_lookup_elem services{bench.family}",
        "map_lookup_elem config", "jiffies64"}
    assert walked.counts[f"map_lookup_elem flows{bench.family}"] == 1
    assert walked.counts["instructions"] <= FOREIGN[bench.hook]


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_verifier_has_room(node, hook):
    assert 0 < node.programs[hook].verified_instructions() <= VERIFIED


@pytest.mark.parametrize("hook", ["xdp"])
def test_walk_goes_the_kernels_way(bench):
    """The counts are right only if the frame that comes out is. (In tc the kernel's helpers do the checksum.)"""
    connection = bench.connect()
    data = connection.request_frame()
    walked = walk(bench, data)
    assert steps.ctypes.string_at(walked.data, len(data)) == connection.expected(data)
