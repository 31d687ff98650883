# SPDX-License-Identifier: GPL-2.0-only
"""testenv: a lab of network namespaces in which slb meets real packets.

One lab is: some *members* (client, node, backends, in the routed topology a router), each a network
namespace of its own, whose devices are veth pairs plugged into *segments*; a segment is a bridge in
the namespace `net`, and so one layer-2 network. The demo, the end-to-end tests and a person at a
shell all use this file; `tools/testenv` is its command line.

Invariants
- Everything a lab owns carries its name: namespaces `slb-NAME-MEMBER`, and the folder
  /run/slb-lab/NAME with a bpf file system of the lab's own in `bpf/`, the nodes' state directories
  in `state/`, and `lab.json`. Labs with different names do not touch each other.
- A lab made by a program goes when that program ends, however it ends: by down(), or, after a
  SIGKILL, by the next lab command that anyone gives (lab.json holds pid and start time of the
  owner). A lab made by `tools/testenv up` has no owner and stays until `tools/testenv down`.
- Taking a lab down ends the processes that live in its namespaces, each by its pid.
- The lab configures the network and leaves to slb what is slb's to do: ip_forward stays 0.

What veth needs for XDP (README.md has the measurements)
- The device at the far end of the node's must run an XDP program of its own, here one that passes
  everything: only then are frames of XDP_TX taken and delivered at once. (GRO at the far end is
  enough for redirects; with XDP_TX the frames are taken, and lie until something else comes by.)
- `tx off` on the segments' ports: programs see a frame as it is, and what the bridge cuts from
  packets that GRO joined has no checksum otherwise.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path("/run/slb-lab")
NETNS = pathlib.Path("/run/netns")
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
DEFAULT_NAME = "lab"
MAX_NAME = 24
END_PATIENCE_S = 3.0  # between SIGTERM and SIGKILL
NEEDED_TOOLS = ("ip", "ethtool", "nsenter", "unshare", "sysctl", "mount", "umount")


class LabError(Exception):
    """A sentence for the person who asked for the lab."""


# --- What a lab looks like -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Port:
    """A device of a member, plugged into a segment. Addresses are with prefix length; `number` is
    the last octet of the MAC address, and of the first IPv4 address where there is one."""

    device: str
    segment: str
    number: int
    addresses: tuple = ()
    up: bool = True


@dataclasses.dataclass(frozen=True)
class Member:
    name: str
    ports: tuple
    routes: tuple = ()  # what follows `ip route add`
    forwards: bool = False  # a plain router of the lab's own
    is_node: bool = False  # slb runs here: own bpf file system and /sys


@dataclasses.dataclass(frozen=True)
class Topology:
    name: str
    summary: str
    members: tuple
    pool: str  # an --ipamRange for the node's adapter
    backends: dict  # name -> IPv4 address

    @property
    def segments(self):
        return sorted({port.segment for member in self.members for port in member.ports})

    def member(self, name):
        for member in self.members:
            if member.name == name:
                return member
        known = ", ".join(m.name for m in self.members)
        raise LabError(f"no member {name!r} in a lab of topology {self.name}; there are {known}")


def _backends(segment, prefix, prefix6, route=None):
    return tuple(
        Member(
            f"b{i + 1}",
            (Port("eth0", segment, 25 + i, (f"{prefix}.{25 + i}/24", f"{prefix6}::{25 + i}/64")),),
            routes=(route,) if route else (),
        )
        for i in range(3)
    )


_BACKEND_ADDRESSES = {f"b{i + 1}": f"10.80.96.{25 + i}" for i in range(3)}

TOPOLOGIES = {
    topology.name: topology
    for topology in (
        Topology(
            "l2",
            "client, node and backends on one segment: packets come and leave by eth0",
            (
                Member(
                    "client",
                    (Port("eth0", "lan", 10, ("10.80.96.10/24", "fd00:80:96::10/64")),),
                ),
                Member(
                    "node",
                    (Port("eth0", "lan", 2, ("10.80.96.2/24", "fd00:80:96::2/64")),),
                    is_node=True,
                ),
            )
            + _backends("lan", "10.80.96", "fd00:80:96"),
            pool="10.80.96.85-10.80.96.90",
            backends=_BACKEND_ADDRESSES,
        ),
        Topology(
            "routed",
            "client - router - node's eth0; backends behind the node's eth1 (eth2, down, is a "
            "second way to them)",
            (
                Member(
                    "client",
                    (Port("eth0", "far", 10, ("10.80.90.10/24", "fd00:80:90::10/64")),),
                    routes=("default via 10.80.90.1", "default via fd00:80:90::1"),
                ),
                Member(
                    "router",
                    (
                        Port("eth0", "far", 1, ("10.80.90.1/24", "fd00:80:90::1/64")),
                        Port("eth1", "front", 1, ("10.80.95.1/24", "fd00:80:95::1/64")),
                    ),
                    forwards=True,
                ),
                Member(
                    "node",
                    (
                        Port("eth0", "front", 2, ("10.80.95.2/24", "fd00:80:95::2/64")),
                        Port("eth1", "back", 2, ("10.80.96.2/24", "fd00:80:96::2/64")),
                        Port("eth2", "back", 3, up=False),
                    ),
                    routes=("default via 10.80.95.1", "default via fd00:80:95::1"),
                    is_node=True,
                ),
            )
            + _backends("back", "10.80.96", "fd00:80:96"),
            pool="10.80.95.85-10.80.95.90",
            backends=_BACKEND_ADDRESSES,
        ),
        Topology(
            "bgp",
            "client - router - two nodes, node and node2; backends behind them. VIPs are in no "
            "network of the lab: the router has to be told",
            (
                Member(
                    "client",
                    (Port("eth0", "far", 10, ("10.80.90.10/24", "fd00:80:90::10/64")),),
                    routes=("default via 10.80.90.1", "default via fd00:80:90::1"),
                ),
                Member(
                    "router",
                    (
                        Port("eth0", "far", 1, ("10.80.90.1/24", "fd00:80:90::1/64")),
                        Port("eth1", "front", 1, ("10.80.95.1/24", "fd00:80:95::1/64")),
                    ),
                    forwards=True,
                ),
            )
            + tuple(
                Member(
                    name,
                    (
                        Port(
                            "eth0",
                            "front",
                            number,
                            (f"10.80.95.{number}/24", f"fd00:80:95::{number}/64"),
                        ),
                        Port(
                            "eth1",
                            "back",
                            number,
                            (f"10.80.96.{number}/24", f"fd00:80:96::{number}/64"),
                        ),
                    ),
                    routes=("default via 10.80.95.1", "default via fd00:80:95::1"),
                    is_node=True,
                )
                for number, name in ((2, "node"), (3, "node2"))
            )
            + _backends("back", "10.80.96", "fd00:80:96"),
            pool="203.0.113.0/28,2001:db8:5::/124",
            backends=_BACKEND_ADDRESSES,
        ),
    )
}


# --- The lab -------------------------------------------------------------------------------------


class Lab:
    """A lab, as a context manager (`with Lab("e2e") as lab:`) or by up() and down()."""

    def __init__(self, name=DEFAULT_NAME, topology="l2"):
        if not name or len(name) > MAX_NAME or not all(c.isalnum() or c in "-_" for c in name):
            raise LabError(
                f"{name!r} is no name for a lab: use up to {MAX_NAME} letters, digits, '-' and '_'"
            )
        if topology not in TOPOLOGIES:
            raise LabError(f"no topology {topology!r}; there are {', '.join(TOPOLOGIES)}")
        self.name = name
        self.topology = TOPOLOGIES[topology]
        self.root = ROOT / name
        self.bpf_path = self.root / "bpf"
        self.state_path = self.root / "state"

    # Life

    @classmethod
    def open(cls, name):
        """A lab that is up already."""
        try:
            record = json.loads((ROOT / name / "lab.json").read_text())
        except (OSError, ValueError):
            raise LabError(f"no lab {name!r} is up; `tools/testenv up {name}` makes it") from None
        return cls(name, record["topology"])

    def up(self, owner_pid=None):
        """Makes the lab. With `owner_pid` it is removed when that process is gone."""
        _check_machine()
        with _registry_lock():
            _remove_stale()
            if self.root.exists():
                raise LabError(
                    f"a lab {self.name!r} is up already; "
                    f"`tools/testenv down {self.name}` removes it"
                )
            self.state_path.mkdir(parents=True)
            owner = {"pid": owner_pid, "start": _start_time(owner_pid)} if owner_pid else None
            record = {"name": self.name, "topology": self.topology.name, "owner": owner}
            (self.root / "lab.json").write_text(json.dumps(record))
        try:
            self._make_namespaces()
            self._configure()
        except BaseException:
            self.down()
            raise
        return self

    def down(self):
        """Removes the lab and all that lives in it. Harmless when part of it is gone already."""
        self._end_processes()
        if os.path.ismount(self.bpf_path):
            subprocess.run(["umount", "-l", self.bpf_path], check=True)
        for name in self._namespace_names():
            if (NETNS / name).exists():
                subprocess.run(["ip", "netns", "del", name], check=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self.up(owner_pid=os.getpid())

    def __exit__(self, *_):
        with _signals_held():
            self.down()

    # Use

    def namespace(self, member):
        """The file that stands for a member's network namespace ("net": the segments')."""
        if member != "net":
            self.topology.member(member)
        return NETNS / f"slb-{self.name}-{member}"

    def command(self, member, argv):
        """`argv` as a command line that runs inside `member`. It becomes that program by exec, so
        that its pid is the pid of the process started."""
        prefix = ["nsenter", f"--net={self.namespace(member)}", "--"]
        if member != "net" and self.topology.member(member).is_node:
            script = (
                "mount -t sysfs sysfs /sys && "
                '{ [ ! -d /sys/fs/bpf ] || mount --bind "$0" /sys/fs/bpf; } && exec "$@"'
            )
            prefix += ["unshare", "--mount", "--", "sh", "-c", script, str(self.bpf_path)]
        return prefix + [str(arg) for arg in argv]

    def environment(self, member):
        """The environment of a process in `member`: the lab's name, and paths of its own."""
        paths = [str(REPOSITORY), "/usr/local/sbin", "/usr/sbin", "/sbin"]
        path = os.environ.get("PATH", "/usr/bin:/bin").split(":")
        return {
            **os.environ,
            "PATH": ":".join(paths + [p for p in path if p not in paths]),
            "SLB_LAB": self.name,
            "SLB_MEMBER": member,
            "SLB_STATE_DIR": str(self.state_path / member),
        }

    def mac(self, port):
        """Readable: 02:00:00:00:<segment, counted from 0>:<port's number>."""
        return f"02:00:00:00:{self.topology.segments.index(port.segment):02x}:{port.number:02x}"

    def popen(self, member, argv, **options):
        """subprocess.Popen inside a member; the caller ends and waits for it."""
        options.setdefault("env", self.environment(member))
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.command(member, argv), **options)

    def run(self, member, argv, check=True, timeout=30, **options):
        """subprocess.run inside a member, output captured as text. A failure is raised with what
        the program said."""
        options.setdefault("env", self.environment(member))
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(
            self.command(member, argv), capture_output=True, text=True, timeout=timeout, **options
        )
        if check and done.returncode != 0:
            what = " ".join(str(arg) for arg in argv)
            raise LabError(
                f"`{what}` in {member} ended with status {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done

    def unplug(self, member, device="eth0"):
        """Pulls a member's cable: its device has no carrier until plug()."""
        self.run("net", ["ip", "link", "set", f"{member}-{device}", "down"])

    def plug(self, member, device="eth0"):
        self.run("net", ["ip", "link", "set", f"{member}-{device}", "up"])

    def replug(self, member, device="eth0"):
        """Deletes a member's device and makes it again: another index, no addresses, down."""
        port = next(p for p in self.topology.member(member).ports if p.device == device)
        near = f"{member}-{device}"
        pass_program = self.bpf_path / "lab-pass"
        self.run("net", ["ip", "link", "del", near])
        _pin_pass_program(pass_program)
        self._script("net", [_ip_batch(self._port_links(member, port, pass_program)),
                             _offloads(near)])
        pass_program.unlink()
        self._script(member, [f"sysctl -qw net.ipv6.conf.{device}.accept_dad=0",
                              _offloads(device)])

    def processes(self):
        """The pids that live in the lab's namespaces, but for our own."""
        inodes = set()
        for name in self._namespace_names():
            with contextlib.suppress(FileNotFoundError):
                inodes.add(os.stat(NETNS / name).st_ino)
        pids = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}/ns/net").st_ino in inodes:
                    pids.append(int(entry))
        return pids

    # Making and removing

    def _namespace_names(self):
        names = ["net"] + [member.name for member in self.topology.members]
        return [f"slb-{self.name}-{name}" for name in names]

    def _make_namespaces(self):
        for name in self._namespace_names():
            _run(["ip", "netns", "add", name])
        self.bpf_path.mkdir()
        if _has_bpf():
            _run(["mount", "-t", "bpf", "-o", "mode=0700", f"slb-{self.name}", self.bpf_path])
        for member in self.topology.members:
            (self.state_path / member.name).mkdir()

    def _configure(self):
        """One shell per namespace: the segments first (they make the veth pairs), then the
        members, side by side."""
        pass_program = self.bpf_path / "lab-pass" if _has_bpf() else None
        if pass_program:
            _pin_pass_program(pass_program)
        self._script("net", self._segment_script(pass_program))
        if pass_program:
            pass_program.unlink()  # the devices hold it now
        running = [
            (member.name, self._start_script(member.name, _member_script(member)))
            for member in self.topology.members
        ]
        for name, process in running:
            _, said = process.communicate(timeout=30)
            if process.returncode != 0:
                raise LabError(f"the lab's member {name} cannot be set up: {said.strip()}")

    def _segment_script(self, pass_program):
        links = []
        devices = []
        for segment in self.topology.segments:
            links.append(f"link add {segment} type bridge stp_state 0 mcast_snooping 0")
            links.append(f"link set {segment} up")
        for member in self.topology.members:
            for port in member.ports:
                links += self._port_links(member.name, port, pass_program)
                devices.append(f"{member.name}-{port.device}")
        lines = [
            "sysctl -qw net.ipv6.conf.default.disable_ipv6=1",
            # Where br_netfilter is loaded, bridged packets must not meet the machine's rules.
            "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 >$f; done",
            _ip_batch(links),
        ]
        return lines + [_offloads(device) for device in devices]

    def _port_links(self, member, port, pass_program):
        """What makes a port's pair of devices and plugs it in (commands of `ip`)."""
        near = f"{member}-{port.device}"
        links = [
            f"link add {near} type veth peer name {port.device} "
            f"address {self.mac(port)} netns slb-{self.name}-{member}",
            f"link set {near} master {port.segment} up",
        ]
        if self.topology.member(member).is_node and pass_program:
            links.append(f"link set {near} xdpdrv pinned {pass_program}")
        return links

    def _start_script(self, member, lines):
        namespace = NETNS / f"slb-{self.name}-{member}"
        return subprocess.Popen(
            ["nsenter", f"--net={namespace}", "--", "sh", "-ec", "\n".join(lines)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _script(self, member, lines):
        process = self._start_script(member, lines)
        _, said = process.communicate(timeout=30)
        if process.returncode != 0:
            raise LabError(f"the lab's {member} cannot be set up: {said.strip()}")

    def _end_processes(self):
        """SIGTERM, patience, SIGKILL. Repeated, since a process may have started another."""
        deadline = time.monotonic() + END_PATIENCE_S
        signalled = set()
        while True:
            pids = self.processes()
            if not pids:
                return
            late = time.monotonic() > deadline
            for pid in pids:
                if late or pid not in signalled:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                    signalled.add(pid)
            if late and time.monotonic() > deadline + END_PATIENCE_S:
                raise LabError(f"processes {pids} of lab {self.name} cannot be ended")
            _reap(pids)
            time.sleep(0.02)


def _member_script(member):
    links = ["link set lo up"]
    for port in member.ports:
        links += [f"link set {port.device} up"] if port.up else []
        links += [
            f"address add {address} dev {port.device}" + (" nodad" if ":" in address else "")
            for address in port.addresses
        ]
    links += [f"route add {route}" for route in member.routes]
    forwarding = int(member.forwards)
    settings = [
        # A new namespace copies the machine's IPv4 settings: the ones that matter are made plain.
        f"net.ipv4.ip_forward={forwarding}",
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.default.rp_filter=0",
        # No duplicate address detection: addresses are usable at once.
        "net.ipv6.conf.all.accept_dad=0",
        "net.ipv6.conf.default.accept_dad=0",
        "net.ipv6.conf.default.router_solicitations=0",
        f"net.ipv6.conf.all.forwarding={forwarding}",
    ]
    lines = [f"sysctl -qw {' '.join(settings)}"]
    lines += [f"sysctl -qw net.ipv6.conf.{p.device}.accept_dad=0" for p in member.ports]
    lines += [_offloads(port.device) for port in member.ports]
    return lines + [_ip_batch(links)]


def _offloads(device):
    return f"ethtool -K {device} tx off gro on >/dev/null"


def _ip_batch(lines):
    # Without -force a batch ends at its first failure, and with its status.
    text = "\n".join(lines)
    return f"ip -batch - <<'END'\n{text}\nEND"


def _has_bpf():
    """Does the kernel know bpf(2)? A lab without eBPF is one for IPVS."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.uname().machine != "x86_64":
        return True
    no_such_command, x86_64_bpf = 1 << 16, 321
    libc.syscall(x86_64_bpf, no_such_command, None, 0)
    return ctypes.get_errno() != errno.ENOSYS


def _pin_pass_program(path):
    """Pins an XDP program that passes every frame on."""
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    xdp_pass = (ctypes.c_uint64 * 2)(0x2_0000_00B7, 0x95)  # r0 = XDP_PASS; exit
    program_type_xdp = 6
    descriptor = libbpf.bpf_prog_load(
        program_type_xdp, b"lab_pass", b"GPL", xdp_pass, ctypes.c_size_t(2), None
    )
    if descriptor < 0:
        raise LabError(f"the kernel takes no XDP program: {os.strerror(-descriptor)}")
    try:
        failed = libbpf.bpf_obj_pin(descriptor, str(path).encode())
        if failed:
            raise LabError(f"nothing can be pinned at {path}: {os.strerror(-failed)}")
    finally:
        os.close(descriptor)


def _run(argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"`{' '.join(map(str, argv))}` failed: {done.stderr.strip()}")


def _reap(pids):
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


# --- Which labs there are ------------------------------------------------------------------------


def labs():
    """The names of the labs that are up."""
    if not ROOT.is_dir():
        return []
    return sorted(path.parent.name for path in ROOT.glob("*/lab.json"))


def _start_time(pid):
    """When a process started, in clock ticks since boot: with its pid, a name for it. None when
    it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _remove_stale():
    for name in labs():
        owner = json.loads((ROOT / name / "lab.json").read_text())["owner"]
        if owner and _start_time(owner["pid"]) != owner["start"]:
            Lab.open(name).down()


@contextlib.contextmanager
def _registry_lock():
    ROOT.mkdir(mode=0o755, exist_ok=True)
    with open(ROOT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _signals_held():
    """Clean-up is not interrupted by a second Ctrl-C."""
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_on_signals():
    """Makes SIGTERM and SIGHUP leave the program as Ctrl-C does: through every `with`."""

    def leave(number, _frame):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _check_machine():
    if os.geteuid() != 0:
        raise LabError("a lab needs root: it makes network namespaces; try again with sudo")
    missing = [tool for tool in NEEDED_TOOLS if not shutil.which(tool, path=_system_path())]
    if missing:
        raise LabError(f"{', '.join(missing)} not found; `make deps` installs what is needed")


def _system_path():
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


# --- Command line --------------------------------------------------------------------------------


def describe(lab):
    """What a person wants to know on entering a lab."""
    topology = lab.topology
    lines = [f"lab {lab.name}: {topology.summary}", ""]
    lines.append(f"  {'member':<8}{'device':<8}{'segment':<9}addresses")
    for member in topology.members:
        for port in member.ports:
            where = f"{member.name:<8}{port.device:<8}{port.segment:<9}"
            lines.append(f"  {where}{'  '.join(port.addresses) or '(down)'}")
    node = topology.member("node").ports[0].addresses[0].partition("/")[0]
    lines += [
        "",
        "in the node:",
        f"  slb server --arp --adapter eth0 --ipamRange {topology.pool} --state-dir $SLB_STATE_DIR",
        "from anywhere:",
        f"  curl -X POST http://{node}:10001/loadbalancer "
        """-d '{"name":"test loadbalancer","port":6443}'""",
        *(
            f"  curl -X POST http://{node}:10001/loadbalancer/<uuid>/backend "
            f"""-d '{{"ip":"{address}","port":6443}}'"""
            for address in topology.backends.values()
        ),
        "on a backend (an HTTP server that answers with its name):",
        "  tools/labserver --name $SLB_MEMBER --http 6443",
        f"another shell:  tools/testenv shell {lab.name} client|b1|…",
    ]
    return "\n".join(lines)


def _command_up(options):
    lab = Lab(options.name, options.topology).up(options.owner)
    if not options.quiet:
        print(describe(lab))
    return 0


def _command_down(options):
    names = labs() if options.all else [options.name]
    for name in names:
        Lab.open(name).down()
    return 0


def _command_exec(options):
    lab = Lab.open(options.name)
    argv = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not argv:
        raise LabError("exec needs a command: tools/testenv exec NAME MEMBER -- COMMAND…")
    command = lab.command(options.member, argv)
    os.execvpe(command[0], command, lab.environment(options.member))


def _command_shell(options):
    with contextlib.ExitStack() as stack:
        if options.name in labs():
            lab = Lab.open(options.name)
        else:
            lab = stack.enter_context(Lab(options.name, options.topology))
            print(f"lab {lab.name} is new and goes when this shell ends\n")
        print(describe(lab), flush=True)
        rc = stack.enter_context(tempfile.NamedTemporaryFile("w", prefix="slb-lab-"))
        rc.write('[ ! -r ~/.bashrc ] || . ~/.bashrc\nPS1="[$SLB_LAB $SLB_MEMBER] \\w \\$ "\n')
        rc.flush()
        environment = lab.environment(options.member)
        shell = stack.enter_context(
            lab.popen(
                options.member, ["bash", "--rcfile", rc.name, "-i"], stdin=None, env=environment
            )
        )
        # Ctrl-C belongs to what runs in the shell.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return shell.wait()


def _command_list(_options):
    with _registry_lock():
        _remove_stale()
    for name in labs():
        lab = Lab.open(name)
        count = len(lab.processes())
        members = " ".join(member.name for member in lab.topology.members)
        print(f"{name}\t{lab.topology.name}\t{members}\t{count} processes")
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="tools/testenv",
        description="a lab of network namespaces for slb",
        epilog="; ".join(f"topology {t.name}: {t.summary}" for t in TOPOLOGIES.values()),
    )
    commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def command(name, function, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        return sub

    topologies = "what the lab looks like (default l2)"
    up = command("up", _command_up, "make a lab that stays until `down`")
    up.add_argument("name", nargs="?", default=DEFAULT_NAME)
    up.add_argument("--topology", choices=TOPOLOGIES, default="l2", help=topologies)
    up.add_argument("--owner", type=int, metavar="PID", help="the lab may go when this process has")
    up.add_argument("--quiet", action="store_true", help="do not describe the lab")
    down = command("down", _command_down, "remove a lab and end what runs in it")
    down.add_argument("name", nargs="?", default=DEFAULT_NAME)
    down.add_argument("--all", action="store_true", help="every lab on this machine")
    execute = command("exec", _command_exec, "run a command in a member of a lab")
    execute.add_argument("name")
    execute.add_argument("member")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    shell = command("shell", _command_shell, "a shell in a lab; makes one if there is none")
    shell.add_argument("name", nargs="?", default=DEFAULT_NAME)
    shell.add_argument("member", nargs="?", default="node")
    shell.add_argument("--topology", choices=TOPOLOGIES, default="l2", help=topologies)
    command("list", _command_list, "the labs that are up")
    return parser


def main(argv=None):
    options = _parser().parse_args(argv)
    end_on_signals()
    try:
        _check_machine()
        return options.function(options)
    except LabError as error:
        print(f"tools/testenv: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
