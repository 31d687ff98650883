# SPDX-License-Identifier: GPL-2.0-only
"""events: what can happen to slb and to its node. Each is a function of the world that makes it happen and comes
back when the world is as it should be again; what takes slb longer than REPAIR_S raises AssertionError.

An event puts back what is not slb's: the node's own addresses and routes, which an administrator's tools would.
"""
import random
import signal
import subprocess
import time

from harness import START_TIMEOUT_S, wait_for

REPAIR_S = 2.0
# The reconcile timer's two seconds begin anywhere; commands that look take their time.
LOOK_S = 1.0

EVENTS = {}


def event(function):
    EVENTS[function.__name__.replace("_", " ")] = function
    return function


def repaired(world):
    """Waits until nothing of slb's is missing."""
    deadline = time.monotonic() + REPAIR_S + LOOK_S
    while missing := world.damage():
        assert time.monotonic() < deadline, f"not repaired within {REPAIR_S} s: {missing}"
        time.sleep(0.05)


def goes_on(world, load):
    """New connections, old ones and datagrams are served: each count rises."""
    before = load.served()
    kinds = ("requests", "queries", "rounds", "datagrams")
    wait_for(
        lambda: all(load.served().get(k, 0) > before.get(k, 0) + 5 for k in kinds),
        f"traffic to go on; before: {before}", timeout_s=20, pause_s=0.1,
    )


# --- slb's own life ------------------------------------------------------------------------------


@event
def killed(world, load, chance):
    """kill -9; while it is down everything is served."""
    world.slb.kill()
    if chance.random() < 0.5:
        goes_on(world, load)
    world.slb.start()


@event
def stopped_and_kept(world, load, chance):
    """SIGTERM with --on-exit keep."""
    world.slb.stop_and_keep()
    goes_on(world, load)
    world.slb.start()


@event
def killed_while_it_starts(world, load, chance):
    """A start that ends anywhere, as by power or by an impatient supervisor."""
    world.slb.kill()
    for _ in range(3):
        process = world.lab.popen(
            "node", world.slb.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.0, 0.8))
        process.kill()
        process.wait()
    world.slb.start()


@event
def upgraded(world, load, chance):
    """Another binary: with other programs, or another build of the same."""
    from world import BINARIES

    others = [str(path) for path in BINARIES.values() if str(path) != world.slb.binary]
    world.slb.kill()
    world.slb.binary = chance.choice(others)
    world.slb.start()


@event
def a_second_daemon(world, load, chance):
    done = world.slb.run("server", *map(str, world.slb.command()[2:]), "--port", "10002")
    assert done.returncode == 1, done
    assert "another slb server uses the state directory" in done.stderr, done.stderr


@event
def frozen(world, load, chance):
    """As by a suspend, a debugger, or a machine without processor time."""
    world.slb.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(chance.uniform(0.1, 1.5))
    finally:
        world.slb.process.send_signal(signal.SIGCONT)


@event
def changed_by_the_api(world, load, chance):
    """A load balancer more and less, a backend drained and back: flows through others go on."""
    made = world.api.create(port=1000 + chance.randrange(1000), name="passing")
    world.api.add_backend(made, "10.80.96.25", 6443)
    balancer = chance.choice(world.balancers)
    path = f"/loadbalancer/{balancer['uuid']}"
    backend = chance.choice(world.api.get(path)["backends"])
    path += f"/backend/{backend['uuid']}"
    assert world.api.ask("PATCH", path, {"state": "drain"}).status == 200
    time.sleep(chance.uniform(0, 0.5))
    assert world.api.ask("PATCH", path, {"state": "up"}).status == 200
    world.api.delete(made)


@event
def changed_while_down(world, load, chance):
    """The store has other weights when the daemon comes back; nothing moves."""
    world.slb.kill()
    database = world.slb.state_dir / "slb.db"
    text = f"UPDATE backend SET weight = {chance.randrange(1, 4)} WHERE ip LIKE '%25'"
    subprocess.run(["sqlite3", database, text], check=True)
    world.slb.start()


# --- other hands ---------------------------------------------------------------------------------


@event
def vip_removed(world, load, chance):
    vip = chance.choice(world.vips)
    world.node("ip", "address", "del", f"{vip}/{128 if ':' in vip else 32}", "dev", "eth0")
    repaired(world)


@event
def xdp_program_removed(world, load, chance):
    world.node("ip", "link", "set", "dev", "eth0", "xdpdrv", "off", check=False)
    repaired(world)


@event
def qdisc_removed(world, load, chance):
    """Not where packets go by tc alone: there nothing stands between clients and the kernel's reset until it is
    repaired (README.md, known limits)."""
    if world.datapath == "tc":
        return
    world.node("tc", "qdisc", "del", "dev", "eth0", "clsact", check=False)
    repaired(world)


@event
def pins_removed(world, load, chance):
    for pin in chance.sample(sorted(world.pins.iterdir()), chance.randrange(1, 5)):
        pin.unlink(missing_ok=True)
    repaired(world)


@event
def neighbours_removed(world, load, chance):
    world.node("ip", "neigh", "flush", "all", check=False)


@event
def route_removed(world, load, chance):
    """The way to the backends goes and comes back a moment later."""
    device = "eth1" if world.lab.topology.name == "routed" else "eth0"
    for family, network, source in (
        ("-4", "10.80.96.0/24", ["src", "10.80.96.2"]), ("-6", "fd00:80:96::/64", []),
    ):
        world.node("ip", family, "route", "del", network, "dev", device, check=False)
        time.sleep(chance.uniform(0.0, 0.3))
        world.node("ip", family, "route", "replace", network, "dev", device, *source)


# --- the device ----------------------------------------------------------------------------------


def restore_node(world, device="eth0"):
    """The node's own addresses and routes, as its network configuration would bring them back. Not before the
    programs are on the device: a packet of a flow that meets the node's address without them is answered by
    the kernel, with a reset (README.md, known limits)."""
    world.node("ip", "link", "set", device, "up")
    wait_for(lambda: any(world.hooks(device).values()), f"programs on {device}", REPAIR_S + LOOK_S)
    port = next(p for p in world.lab.topology.member("node").ports if p.device == device)
    for address in port.addresses:
        more = ["nodad"] if ":" in address else []
        world.node("ip", "address", "replace", address, "dev", device, *more)
    for route in world.lab.topology.member("node").routes:
        world.node("ip", "route", "replace", *route.split(), check=False)


@event
def cable_pulled(world, load, chance):
    world.lab.unplug("node")
    time.sleep(chance.uniform(0.1, 1.0))
    world.lab.plug("node")
    repaired(world)
    goes_on(world, load)


@event
def adapter_down_and_up(world, load, chance):
    world.node("ip", "link", "set", "eth0", "down")
    time.sleep(chance.uniform(0.0, 0.5))
    restore_node(world)
    repaired(world)
    goes_on(world, load)


@event
def adapter_renamed(world, load, chance):
    """Down, renamed, up; and back."""
    world.node("ip", "link", "set", "eth0", "down")
    world.node("ip", "link", "set", "eth0", "name", "lan7")
    world.node("ip", "link", "set", "lan7", "up")
    time.sleep(chance.uniform(0.0, 1.0))
    world.node("ip", "link", "set", "lan7", "down")
    world.node("ip", "link", "set", "lan7", "name", "eth0")
    restore_node(world)
    repaired(world)
    goes_on(world, load)


@event
def adapter_made_anew(world, load, chance):
    """Deleted and created again, as by a network manager."""
    world.lab.replug("node", "eth0")
    restore_node(world)
    repaired(world)
    goes_on(world, load)


def chance_of(seed):
    return random.Random(seed)


__all__ = ["EVENTS", "START_TIMEOUT_S", "chance_of", "goes_on", "repaired", "restore_node"]
