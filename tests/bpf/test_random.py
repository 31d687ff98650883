# SPDX-License-Identifier: GPL-2.0-only
"""
Random packets against the model: verdict and every byte must agree, and so must counters at the end.

Few clients, ports and source ports, so that packets meet each other's flows: retransmissions, wrong acknowledgements, ports used
again, exhaustion. SLB_RANDOM_SEED repeats a run, SLB_RANDOM_PACKETS sets its length (of all combinations together).
"""

import os
import random

import pytest

import node as n
from model import ACK, FIN, RST, SYN, TCP, UDP, Backend, Model, Packet, Service
from packets import answer
from node import ADDRESSES, IN, MACS, OUT, packed

PACKETS = int(os.environ.get("SLB_RANDOM_PACKETS", "20000"))
FLAGS = [ACK] * 80 + [SYN] * 6 + [SYN | ACK] * 4 + [FIN | ACK] * 2 + [
    RST, FIN, 0, SYN | FIN, 8 | ACK]
PORTS = [(2000, 5), (3000, 3)]


@pytest.fixture(scope="module")
def stopped_node(network):
    """Its clock stands still."""
    node = n.Node(second_multiplier=0)
    yield node
    node.close()


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


class World:
    """The same services in the node and in the model."""

    def __init__(self, node, family, protocol):
        node.reset()
        own = ADDRESSES[family]
        node.ports = PORTS
        node.write_config()
        second = "198.51.100.2" if family == 4 else "2001:db8:2::2"
        sources = node.add_sources(own["node_out"], second)
        self.backends, services = {}, {}
        addresses = list(own["backend"].values())
        layout = {80: (addresses[:2], True), 81: (addresses[2:4], False), 82: ([], True)}
        for port, (members, source_nat) in layout.items():
            service_id = node.add_service(own["vip"], port, protocol, source_nat=source_nat)
            service = Service([], source_nat)
            ids = []
            for address in members:
                backend = Backend(packed(address), 8080)
                backend_id = node.add_backend(service_id, address, 8080, sources)
                self.backends[backend_id] = backend
                service.backends.append(backend)
                ids.append(backend_id)
            node.set_schedule(service_id, ids)
            services[(packed(own["vip"]), port, protocol)] = service
            service.id = service_id
        self.services = services.values()
        self.model = Model(services, PORTS, [packed(own["node_out"]), packed(second)])
        macs = {own["client"]: (n.CLIENT_MAC, IN), own["near"]: (n.NEAR_MAC, IN)}
        macs.update({own["backend"][k]: (n.BACKEND_MACS[k], OUT) for k in own["backend"]})
        self.hops = {packed(a): (mac(m), mac(MACS[d])) for a, (m, d) in macs.items()}
        self.clients = [packed(own["client"]), packed(own["near"])]
        self.vip = packed(own["vip"])
        self.family, self.protocol, self.node = family, protocol, node

    def random_packet(self, rng):
        common = {"protocol": self.protocol, "payload": rng.randbytes(rng.choice((0, 0, 1, 7, 64))),
                  "ttl": rng.choice((64, 64, 64, 64, 64, 2, 1, 255))}
        if self.protocol == TCP:
            common.update(flags=rng.choice(FLAGS), seq=rng.choice((5000, 0xffffffff)))
        else:
            common["no_checksum"] = rng.random() < 0.1
        flow = rng.choice(list(self.model.flows.values())) if (self.model.flows
                                                               and rng.random() < 0.85) else None
        if not flow:
            if self.protocol == TCP:
                common["flags"] = rng.choice([SYN] * 8 + FLAGS)
            return Packet(saddr=rng.choice(self.clients), sport=rng.randrange(40000, 40030),
                          daddr=self.vip, dport=rng.choice((80, 80, 80, 81, 82, 83)), **common)
        key = rng.choice((flow.client, flow.inner))
        if self.protocol == TCP:
            common["ack"] = rng.choice((flow.expected or 1, flow.expected or 1, 0, 77))
            if not flow.established and rng.random() < 0.7:  # the handshake's next step
                key = flow.client if flow.replied else flow.inner
                common["flags"] = ACK if flow.replied else SYN | ACK
        saddr, sport, daddr, dport, _ = key
        return Packet(saddr=saddr, sport=sport, daddr=daddr, dport=dport, **common)

    def step(self, rng, hook):
        if self.protocol == UDP and self.model.flows and rng.random() < 0.02:
            self.make_old(rng.choice(list(self.model.flows.values())))
        packet = self.random_packet(rng)
        src, dst = self.hops[packet.saddr] if packet.saddr in self.hops else (bytes(6), bytes(6))
        data = packet.to_bytes(src, dst)
        device = OUT if dst == mac(MACS[OUT]) else IN
        expected, becomes = self.model.receive(packet)
        verdict, out = self.node.send(hook, data, device)
        if becomes:
            peer, own = self.hops[becomes.daddr]
            wanted = becomes.to_bytes(own, peer)
            assert verdict in (n.SAME, n.OTHER), (packet, verdict)
        elif expected in ("ttl", "nobody"):
            wanted = answer(data, expected)
            assert verdict == (n.SAME if hook == "xdp" else n.OTHER), (packet, verdict)
        else:
            wanted = data
            assert verdict == expected, (packet, verdict, expected)
        assert out == wanted, packet

    def make_old(self, flow):
        """As if two seconds had passed since it began."""
        flow.old = True
        if not flow.established:
            key = [str(n.ipaddress.ip_address(x)) if isinstance(x, bytes) else x
                   for x in flow.client]
            self.node.change_flow(self.family, key, half_open=True, begun_s=(1 << 32) - 2)

    def compare_totals(self):
        for backend_id, backend in self.backends.items():
            assert self.node.traffic(backend_id) == tuple(backend.traffic)
            state = self.node.backend_state(backend_id)
            assert (state["opened"], state["closed"]) == (backend.opened, backend.closed)
        for service in self.services:
            assert self.node.drops(service.id) == service.drops
        flows = set(self.model.flows.values())
        assert len(self.node.flows(self.family)) == 2 * sum(f.established for f in flows)
        assert len(self.node.flows(self.family, True)) == 2 * sum(not f.established for f in flows)


def test_random(stopped_node, hook, family, protocol):
    seed = int(os.environ.get("SLB_RANDOM_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"SLB_RANDOM_SEED={seed}")
    rng = random.Random(seed)
    world = World(stopped_node, family, protocol)
    for _ in range(PACKETS // 8):
        world.step(rng, hook)
    world.compare_totals()
