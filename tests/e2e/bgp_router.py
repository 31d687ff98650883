# SPDX-License-Identifier: GPL-2.0-only
"""bgp_router: BIRD on the lab's router, configured as README.md's section "BGP" has it."""
import re
import subprocess

from harness import wait_for

ROUTER_AS = 65001
NODE_AS = 65010
ROUTER = {4: "10.80.95.1", 6: "fd00:80:95::1"}
NODES = {"node": {4: "10.80.95.2", 6: "fd00:80:95::2"}, "node2": {4: "10.80.95.3", 6: "fd00:80:95::3"}}

CONFIGURATION = """
log "{folder}/bird.log" all;
router id 10.80.95.1;
protocol device {{ scan time 1; }}
protocol kernel {{ merge paths on; ipv4 {{ export filter {{ if source = RTS_BGP then accept; reject; }}; }}; }}
protocol kernel {{ merge paths on; ipv6 {{ export filter {{ if source = RTS_BGP then accept; reject; }}; }}; }}
filter vips4 {{
    if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
    if net ~ [ 203.0.113.0/24{{32,32}} ] then accept;
    reject;
}}
filter vips6 {{
    if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
    if net ~ [ 2001:db8:5::/64{{128,128}} ] then accept;
    reject;
}}
{protocols}
"""
PROTOCOL = """
protocol bgp {name} {{
    local {local} as {router_as};
    neighbor {neighbour} as {node_as};
    {options}
    ipv4 {{ import filter vips4; export none; next hop self; }};
    ipv6 {{ import filter vips6; export none; next hop self; }};
    graceful restart aware;
}}
"""


class Router:
    """BIRD with one protocol per node: `nodes` are names, or (name, family) for a session over IPv6."""

    def __init__(self, lab, folder, *nodes, options=""):
        self.lab, self.folder = lab, folder
        self.control = folder / "bird.ctl"
        protocols = ""
        for node in nodes:
            name, family = node if isinstance(node, tuple) else (node, 4)
            protocols += PROTOCOL.format(
                name=name, local=ROUTER[family], neighbour=NODES[name][family], options=options,
                router_as=ROUTER_AS, node_as=NODE_AS,
            )
        self.configuration = folder / "bird.conf"
        self.configuration.write_text(CONFIGURATION.format(folder=folder, protocols=protocols))
        self.process = None

    def start(self):
        command = ["bird", "-f", "-c", self.configuration, "-s", self.control]
        self.process = self.lab.popen("router", command, stderr=subprocess.DEVNULL)
        wait_for(lambda: "up and running" in self.ask("show status"), "BIRD to run")
        # Connections are spread over next hops by their ports, not by addresses alone.
        for family in ("ipv4", "ipv6"):
            setting = f"net.{family}.fib_multipath_hash_policy=1"
            self.lab.run("router", ["sysctl", "-qw", setting])
        return self

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=10)
            self.process = None

    def ask(self, question):
        return self.lab.run("router", ["birdc", "-s", self.control, question], check=False).stdout

    def is_up(self, node="node"):
        return re.search(rf"^{node}\s+BGP.*Established", self.ask("show protocols"), re.M)

    def entry(self, address):
        """All that BIRD knows of the route to a VIP; empty without one."""
        bits = 128 if ":" in address else 32
        answer = self.ask(f"show route {address}/{bits} all")
        return answer if "BGP" in answer else ""

    def next_hops(self, address):
        """Where the router's kernel sends packets to a VIP, as a set."""
        family = ["-6"] if ":" in address else []
        shown = self.lab.run("router", ["ip", *family, "route", "show", address]).stdout
        return set(re.findall(r"via (?:inet6 )?(\S+)", shown))
