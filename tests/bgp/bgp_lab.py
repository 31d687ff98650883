# SPDX-License-Identifier: GPL-2.0-only
"""A lab for BGP: namespaces with routers nobody here wrote (BIRD, FRR, GoBGP) and with our speaker, as
driven by bgp_driver.c.

    node n1 (10.99.0.11, fd99::11) ─┐
    node n2 (10.99.0.12, fd99::12) ─┴─ bridge in r (10.99.0.1, fd99::1) ── far (10.98.0.2), through 10.98.0.1

Everything has a deadline, nothing sleeps for luck, and Lab.close() leaves no process and no namespace.
"""

import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DRIVER = os.path.join(TOP, "build", "tests", "bgp", "bgp_driver")
NODE_AS = 65010
ROUTER_AS = 65001


def run(*command, check=True, text_in=None, timeout=20):
    done = subprocess.run(command, input=text_in, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def until(condition, timeout=15, what="condition"):
    """Waits until condition() is true and returns what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}; last: {value!r}")
        time.sleep(0.05)


class Lab:
    _count = 0

    def __init__(self):
        Lab._count += 1
        self.prefix = f"bgp-{os.getpid()}-{Lab._count}-"
        self.directory = tempfile.mkdtemp(prefix="slb-bgp-")
        os.chmod(self.directory, 0o755)
        self.namespaces = []
        self.processes = []

    # -- namespaces --

    def add(self, name):
        run("ip", "netns", "add", self.prefix + name)
        self.namespaces.append(self.prefix + name)
        self.sh(name, "ip link set lo up; sysctl -qw net.ipv6.conf.all.accept_dad=0 "
                      "net.ipv6.conf.default.accept_dad=0 net.ipv4.ip_forward=1 "
                      "net.ipv6.conf.all.forwarding=1")

    def sh(self, name, script, check=True):
        return run("ip", "netns", "exec", self.prefix + name, "sh", "-ec", script, check=check)

    def popen(self, name, *command, **options):
        process = subprocess.Popen(["ip", "netns", "exec", self.prefix + name, *command], **options)
        self.processes.append(process)
        return process

    def base(self, nodes=1, far=False):
        self.add("r")
        self.sh("r", "ip link add br0 type bridge; ip link set br0 up; "
                     "ip addr add 10.99.0.1/24 dev br0; ip addr add fd99::1/64 dev br0 nodad")
        for number in range(1, nodes + 1):
            name = f"n{number}"
            self.add(name)
            self.link(name, "eth0", "r", f"v{number}")
            self.sh("r", f"ip link set v{number} master br0")
            self.sh(name, f"ip addr add 10.99.0.1{number}/24 dev eth0; "
                          f"ip addr add fd99::1{number}/64 dev eth0 nodad; "
                          "ip route add default via 10.99.0.1; ip -6 route add default via fd99::1")
        if far:
            self.add("far")
            self.link("far", "eth0", "r", "vfar")
            self.sh("r", "ip addr add 10.98.0.1/24 dev vfar")
            self.sh("far", "ip addr add 10.98.0.2/24 dev eth0; ip route add default via 10.98.0.1")
        return self

    def link(self, a, device_a, b, device_b):
        run("ip", "link", "add", device_a, "netns", self.prefix + a, "type", "veth", "peer", "name",
            device_b, "netns", self.prefix + b)
        self.sh(a, f"ip link set {device_a} up")
        self.sh(b, f"ip link set {device_b} up")

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def end(self, process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if process in self.processes:
            self.processes.remove(process)

    def close(self):
        for process in list(self.processes):
            self.end(process)
        for namespace in self.namespaces:
            run("ip", "netns", "del", namespace, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


class Speaker:
    """Our side."""

    def __init__(self, lab, name="n1", asn=NODE_AS, router_id=None, flags=()):
        self.lab, self.name = lab, name
        router_id = router_id or f"10.99.0.1{name[-1]}"
        self.log = os.path.join(lab.directory, f"{name}.log")
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = lab.popen(name, DRIVER, "-a", str(asn), "-i", router_id, *flags,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                     text=True)

    def tell(self, line, timeout=10):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        answer = self.process.stdout.readline() if ready else ""
        if not answer:
            raise AssertionError(f"no answer to {line!r}:\n{self.logged()}")
        return json.loads(answer)

    def do(self, line):
        answer = self.tell(line)
        assert answer["ok"], answer
        return answer

    def peer(self, index=0):
        return self.tell("status")["peers"][index]

    def up(self, index=0, timeout=15):
        return until(lambda: (lambda p: p if p["state"] == "Established" else None)(self.peer(index)),
                     timeout, f"Established; log:\n{self.logged()}")

    def down(self, index=0, timeout=15):
        return until(lambda: (lambda p: p if p["state"] != "Established" else None)(self.peer(index)),
                     timeout, "not Established")

    def kill(self):
        self.process.kill()
        self.process.wait(5)
        self.lab.end(self.process)

    def stop(self, command="stop bye"):
        answer = self.tell(command)
        assert answer["ok"]
        assert self.process.wait(5) == 0, self.logged()
        self.lab.end(self.process)

    def logged(self):
        with open(self.log, encoding="utf-8") as log:
            return log.read()


class Bird:
    def __init__(self, lab, name, protocols, merge=False):
        self.lab, self.name = lab, name
        self.socket = os.path.join(lab.directory, f"bird-{name}.ctl")
        self.protocols, self.merge = protocols, merge
        self.start()

    def start(self):
        merge = "merge paths on;" if self.merge else ""
        config = self.lab.write(f"bird-{self.name}.conf", f"""
router id 10.99.0.1;
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; }}
protocol kernel {{ {merge} ipv4 {{ export filter {{ if source = RTS_BGP then accept; reject; }}; }}; }}
protocol kernel {{ {merge} ipv6 {{ export filter {{ if source = RTS_BGP then accept; reject; }}; }}; }}
{self.protocols}
""")
        self.process = self.lab.popen(self.name, "bird", "-f", "-c", config, "-s", self.socket)
        until(lambda: os.path.exists(self.socket) and "ready" in self.ask("show status").lower()
              or "up and running" in self.ask("show status").lower(), what="BIRD runs")

    def ask(self, command):
        return run("birdc", "-s", self.socket, command, check=False)

    def routes(self, family=4):
        """{address: the whole entry}"""
        table = "master4" if family == 4 else "master6"
        text = self.ask(f"show route table {table} all where source = RTS_BGP")
        found, current = {}, None
        for line in text.splitlines():
            match = re.match(r"^([0-9a-f.:]+)/(32|128)\s", line)
            if match:
                current = match.group(1)
                found.setdefault(current, "")
            if current:
                found[current] += line + "\n"
        return found

    def count(self, family=4):
        table = "master4" if family == 4 else "master6"
        text = self.ask(f"show route table {table} count where source = RTS_BGP")
        match = re.search(r"(\d+) of (\d+) routes", text)
        return int(match.group(1)) if match else -1

    def kill(self):
        self.process.kill()
        self.process.wait(5)
        self.lab.end(self.process)

    def stop(self):
        self.lab.end(self.process)


def bird_bgp(neighbor="10.99.0.11", asn=NODE_AS, local=None, extra="", name="node", channels=None,
             local_as=ROUTER_AS):
    channels = channels or ("ipv4 { import all; export none; };\n"
                            "ipv6 { import all; export none; };")
    source = f"local {local} as {local_as};" if local else f"local as {local_as};"
    return f"""
protocol bgp {name} {{
    {source}
    neighbor {neighbor} as {asn};
    connect delay time 1; connect retry time 2; error wait time 1, 2;
    {extra}
    {channels}
}}
"""


class Frr:
    """bgpd (and zebra, without which it has no next hops)."""

    def __init__(self, lab, name, bgp):
        self.lab, self.name = lab, name
        self.directory = os.path.join(lab.directory, f"frr-{name}")
        os.mkdir(self.directory)
        os.chmod(self.directory, 0o777)
        self.config = lab.write(f"frr-{name}.conf", f"frr defaults datacenter\nlog stdout\n{bgp}\n")
        os.chmod(self.config, 0o644)
        self.daemons = []
        self.start()

    def start(self):
        empty = self.lab.write("empty.conf", "")
        zserv = os.path.join(self.directory, "zserv.api")
        for daemon, config in (("zebra", empty), ("bgpd", self.config)):
            with open(os.path.join(self.directory, daemon + ".log"), "a", encoding="utf-8") as log:
                self.daemons.append(self.lab.popen(
                    self.name, f"/usr/lib/frr/{daemon}", "-f", config, "-z", zserv, "-i",
                    os.path.join(self.directory, daemon + ".pid"), "--vty_socket", self.directory,
                    "-A", "127.0.0.1", stdout=log, stderr=log))
            until(lambda d=daemon: os.path.exists(os.path.join(self.directory, d + ".vty")),
                  what=f"{daemon} runs")

    def ask(self, command):
        return run("vtysh", "--vty_socket", self.directory, "-c", command, check=False)

    def json(self, command):
        try:
            return json.loads(self.ask(command + " json"))
        except ValueError:
            return {}

    def routes(self, family=4):
        name = "ipv4" if family == 4 else "ipv6"
        routes = self.json(f"show bgp {name} unicast").get("routes", {})
        return {prefix.split("/")[0]: paths for prefix, paths in routes.items()}

    def detail(self, prefix, family=4):
        name = "ipv4" if family == 4 else "ipv6"
        return self.json(f"show bgp {name} unicast {prefix}")

    def neighbor(self, address):
        return self.json(f"show bgp neighbors {address}").get(address, {})

    def stop(self):
        for process in self.daemons:
            self.lab.end(process)
        self.daemons = []


class Gobgp:
    def __init__(self, lab, name, config):
        self.lab, self.name = lab, name
        path = lab.write(f"gobgp-{name}.toml", config)
        with open(os.path.join(lab.directory, f"gobgp-{name}.log"), "a", encoding="utf-8") as log:
            self.process = lab.popen(name, "gobgpd", "-f", path, "--api-hosts", "127.0.0.1:50051",
                                     stdout=log, stderr=log)
        until(lambda: "neighbor" in self.ask("neighbor").lower() or "peer" in self.ask("neighbor").lower(),
              what="gobgpd runs")

    def ask(self, *command):
        return run("ip", "netns", "exec", self.lab.prefix + self.name, "gobgp", *command, check=False)

    def routes(self, family=4):
        try:
            table = json.loads(self.ask("global", "rib", "-a", f"ipv{family}", "-j"))
        except ValueError:
            return {}
        return {prefix.split("/")[0]: paths for prefix, paths in table.items()}
