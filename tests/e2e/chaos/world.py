# SPDX-License-Identifier: GPL-2.0-only
"""world: a lab with slb, servers, load balancers for every kind of traffic on a VIP of each family, and the
oracle (load.py) running through them.

    with World("l2", "auto") as world:
        with world.load() as load:
            ...                          # an event of events.py
        load.result                      # the oracle's counts

`world.damage()` says what of slb's is not in place; an empty list is health.
"""
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent.parent / "tools")]

import harness  # noqa: E402
import testenv  # noqa: E402

BINARIES = {name: harness.TOP / path for name, path in (
    ("plain", "slb"), ("sanitizers", "build/slb-asan"), ("other programs", "build/slb-other"))}
MAPS = 10  # at least so many are pinned
ECHO = harness.Backends.ECHO
HTTP = harness.Backends.HTTP
PREFIX6 = "fd00:80:96::"


class World:
    def __init__(self, topology="l2", datapath="auto", name="chaos", binary=None):
        self.lab = testenv.Lab(harness.lab_name(name), topology)
        self.datapath = datapath
        self.binary = binary
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.lab = self.stack.enter_context(self.lab)
            self.folder = pathlib.Path(self.stack.enter_context(
                tempfile.TemporaryDirectory(prefix="slb-chaos-")))
            node = self.lab.topology.member("node").ports[0].addresses
            self.prefix = [a.partition("/")[0] for a in node]
            pool = f"{self.lab.topology.pool},{self.prefix[1][:-1]}85-{self.prefix[1][:-1]}8f"
            self.slb = harness.Slb(
                self.lab, self.folder, "--arp", "--adapter", "eth0", "--ipamRange", pool,
                "--datapath", self.datapath, "--arp-probe", "0",
                "--on-exit", "keep",
            )
            if self.binary:
                self.slb.binary = str(self.binary)
            self.stack.callback(self.slb.end)
            self.slb.start()
            self.api = harness.Api(self.lab, self.slb)
            self.servers = harness.Backends(self.lab).start()
            self.stack.callback(self.servers.stop)
            self._balance()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _balance(self):
        """One VIP per family; HTTP and echo by TCP, echo by UDP on each."""
        self.balancers = []
        self.targets = []
        for family in ("ipv4", "ipv6"):
            eip = None
            for port, protocol in ((HTTP, "tcp"), (ECHO, "tcp"), (ECHO, "udp")):
                more = {"eip": eip} if eip else {"family": family}
                made = self.api.create(port=port, protocol=protocol, **more)
                eip = made["eip"]
                for last in (25, 26, 27):
                    ip = f"10.80.96.{last}" if family == "ipv4" else f"{PREFIX6}{last}"
                    self.api.add_backend(made, ip, port)
                self.balancers.append(made)
            self.targets.append({"host": eip, "http": HTTP, "echo": ECHO, "udp": ECHO})
        self.vips = [target["host"] for target in self.targets]

    # What can be looked at

    def node(self, *argv, check=True):
        return self.lab.run("node", argv, check=check)

    @property
    def pins(self):
        """The pin directory, seen from outside."""
        return self.lab.bpf_path / "slb"

    def hooks(self, device="eth0"):
        """Which of slb's programs are on a device."""
        tc = self.node("tc", "filter", "show", "dev", device, "ingress", check=False).stdout
        return {"xdp": self.slb.xdp_mode(device) == "driver", "tc": "slb_tc" in tc}

    def damage(self):
        missing = []
        try:
            addresses = " ".join(self.slb.addresses())
            missing += [vip for vip in self.vips if f"{vip}/" not in addresses]
            hooks = self.hooks()
        except testenv.LabError as error:
            return [str(error)]
        missing += [] if hooks["tc"] else ["the tc program"]
        missing += [] if hooks["xdp"] or self.datapath == "tc" else ["the XDP program"]
        if not self.pins.is_dir() or len(list(self.pins.iterdir())) < MAPS:
            missing.append("pinned maps")
        return missing

    # Load

    @contextlib.contextmanager
    def load(self):
        process = self.lab.popen(
            "client",
            [harness.PYTHON, "-B", HERE / "load.py", json.dumps(self.targets)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running = Load(process)
        try:
            assert process.stdout.readline() == "running\n", "the load does not get going"
            yield running
            running.finish()
        finally:
            running.close()


class Load(harness.Running):
    result = None

    def finish(self):
        if self.result is None:
            self.process.stdin.close()
            self.result = json.loads(self.process.stdout.readline())  # bounded by load.py
            self.process.wait(timeout=30)
        return self.result

    def served(self):
        """How many replies there have been, by kind."""
        return self.now()["counts"]
