# SPDX-License-Identifier: GPL-2.0-only
"""Machines that do not let slb do what it wants: each gives a sentence, a lower step that works, or a clean refusal, and
never a half-configured node. What needs another kernel is in tests/vm.
"""

import json
import pathlib
import sys

import pytest

import harness
from harness import Api, wait_for

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
WITHOUT_BPF = TOP / "tests/vm/guest/without_bpf.py"
NO_BPF = (harness.PYTHON, WITHOUT_BPF)
FORBIDDEN_BPF = (harness.PYTHON, WITHOUT_BPF, "--errno", "EPERM")
NO_BPFFS = ("sh", "-c", 'umount -l /sys/fs/bpf && exec "$@"', "sh")
NO_PLACE_FOR_BPFFS = ("sh", "-c", 'mount -t tmpfs -o ro none /sys && exec "$@"', "sh")
READ_ONLY_SYSCTL = ("sh", "-c", 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"', "sh")


def without(*capabilities):
    return ("setpriv", "--bounding-set", ",".join(f"-{name}" for name in capabilities))


def state(lab):
    """What a refused start must leave as it was."""

    def said(*command):
        return lab.run("node", command, check=False).stdout

    links = json.loads(said("ip", "-j", "-d", "link"))
    settings = said("sysctl", "-ar", r"^net\.ipv[46]\.(conf\..*\.)?(ip_)?forward(ing)?|accept_ra$")
    return (
        [(link["ifname"], link.get("xdp")) for link in links],
        [(a["ifname"], [i["local"] for i in a["addr_info"]]) for a in json.loads(said("ip", "-j", "address"))],
        said("tc", "filter", "show", "dev", "eth0", "ingress"),
        settings,
        sorted(str(path) for path in lab.bpf_path.rglob("*")),
    )


class Hostile(harness.Slb):
    """slb behind a wrapper that takes something away."""

    wrapper = ()

    def command(self, *flags):
        return [*self.wrapper, *super().command(*flags)]


@pytest.fixture
def refused(lab, tmp_path):
    """refused(wrapper, flag…) → what slb said when it would not start; the node is as before."""

    def run(wrapper, *flags):
        before = state(lab)
        slb = Hostile(lab, tmp_path, "--arp", "--adapter", "eth0", "--ipamRange", lab.topology.pool, *flags)
        slb.wrapper = wrapper
        done = lab.run("node", slb.command(), check=False, timeout=20, env=slb._environment())
        assert done.returncode == 1, f"status {done.returncode}: {done.stderr}"
        assert state(lab) == before
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERRO")]
        assert len(errors) == 1, done.stderr
        return errors[0]

    return run


@pytest.fixture
def started(request, lab, tmp_path):
    """started(wrapper, flag…) → the Slb, running."""
    made = []

    def run(wrapper, *flags):
        slb = Hostile(lab, tmp_path, "--arp", "--adapter", "eth0", "--ipamRange", lab.topology.pool, *flags)
        slb.wrapper = wrapper
        made.append(slb)
        return slb.start()

    request.node.slbs = made
    try:
        yield run
        for slb in made:
            slb.stop()
    finally:
        for slb in made:
            slb.end()


def device(slb):
    return Api(slb.lab, slb).get("/capabilities")["devices"][0]


def balances(slb, backends, traffic):
    api = Api(slb.lab, slb)
    balancer = api.create(port=backends.HTTP)
    for ip in backends.addresses.values():
        api.add_backend(balancer, ip, backends.HTTP)
    result = traffic.get(f"http://{balancer['eip']}:{backends.HTTP}/", count=6)
    assert result["answers"] == {"b1": 2, "b2": 2, "b3": 2}, result


@pytest.fixture
def foreign_xdp(lab):
    """An XDP program of somebody else on the adapter, attached without libxdp."""
    sys.path.insert(0, str(TOP / "tools"))
    import testenv

    pin = lab.bpf_path / "foreign"
    testenv._pin_pass_program(pin)
    lab.run("node", ["ip", "link", "set", "eth0", "xdpdrv", "pinned", "/sys/fs/bpf/foreign"])
    pin.unlink()

    def there():
        links = json.loads(lab.run("node", ["ip", "-j", "-d", "link", "show", "dev", "eth0"]).stdout)
        return (links[0].get("xdp") or {}).get("prog", {}).get("name") == "lab_pass"

    assert there()
    yield there
    lab.run("node", ["ip", "link", "set", "eth0", "xdpdrv", "off"])


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("capability", ("net_admin", "net_raw", "sys_admin"))
def test_a_capability_is_missing(refused, capability):
    assert f"CAP_{capability.upper()}" in refused(without(capability))


@pytest.mark.parametrize("datapath", ("xdp", "xdp-generic", "tc"))
def test_a_forced_datapath_without_bpf(refused, datapath):
    said = refused(NO_BPF, "--datapath", datapath)
    assert "no eBPF" in said and "IPVS" not in said


def test_bpf_is_forbidden(refused):
    said = refused(FORBIDDEN_BPF, "--datapath", "xdp")
    assert "forbidden" in said and "Operation not permitted" in said


def test_nothing_is_left(refused):
    """Neither eBPF nor IPVS: both reasons are said."""
    if (pathlib.Path("/proc/net/ip_vs")).exists():
        pytest.skip("this machine has IPVS")
    said = refused(NO_BPF)
    assert "no eBPF" in said and "no IPVS" in said and "slb doctor" in said


def test_ipvs_is_missing(refused):
    if (pathlib.Path("/proc/net/ip_vs")).exists():
        pytest.skip("this machine has IPVS")
    assert "modprobe ip_vs" in refused((), "--datapath", "ipvs")


def test_no_place_for_a_bpf_file_system(refused):
    said = refused(NO_PLACE_FOR_BPFFS, "--datapath", "xdp")
    assert "/sys/fs/bpf" in said


def test_settings_cannot_be_written(refused):
    said = refused(READ_ONLY_SYSCTL)
    assert "read-only" in said and "ip_forward" in said


def test_a_foreign_program_and_xdp_forced(refused, foreign_xdp):
    said = refused((), "--datapath", "xdp")
    assert "another XDP program (lab_pass" in said
    assert foreign_xdp()


# --- lower steps, and what does not matter -------------------------------------------------------


def test_a_foreign_program_steps_down_to_tc(started, foreign_xdp, backends, traffic):
    slb = started(())
    assert device(slb)["datapath"] == "tc"
    assert "another XDP program (lab_pass" in device(slb)["reasons"][0]
    assert slb.log_lines("Datapath of eth0: tc .*lab_pass")
    balances(slb, backends, traffic)
    slb.stop()
    assert foreign_xdp()


def test_a_foreign_program_that_comes_later(started, lab, request, backends, traffic):
    slb = started(())
    assert device(slb)["datapath"] == "xdp"
    lab.run("node", ["ip", "link", "set", "eth0", "xdpdrv", "off"])
    there = request.getfixturevalue("foreign_xdp")
    wait_for(lambda: device(slb)["datapath"] == "tc", "the step down to be told", 8)
    balances(slb, backends, traffic)
    assert there()


def test_no_bpf_file_system(started, backends, traffic):
    """slb mounts one."""
    slb = started(NO_BPFFS)
    assert device(slb)["datapath"] == "xdp"
    balances(slb, backends, traffic)


def test_settings_that_are_right_already(started, lab, backends, traffic):
    settings = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
    lab.run("node", ["sysctl", "-qw", *settings])
    try:
        slb = started(READ_ONLY_SYSCTL)
        balances(slb, backends, traffic)
        slb.stop()
    finally:
        lab.run("node", ["sysctl", "-qw", *[name.replace("=1", "=0") for name in settings]])


def test_a_small_fixed_memlock(started, backends, traffic):
    """Maps count against it only up to Linux 5.10, which tests/vm has; here it must not be in the way."""
    wrapper = (*without("sys_resource"), "prlimit", "--memlock=65536:65536")
    slb = started(wrapper)
    balances(slb, backends, traffic)


# --- the doctor ----------------------------------------------------------------------------------


def doctor(lab, *wrapper, flags=("--json",)):
    command = [*wrapper, harness.binary(), "doctor", *flags]
    done = lab.run("node", command, check=False, timeout=30)
    return done.returncode, json.loads(done.stdout) if "--json" in flags else done.stdout


def finding(found, name):
    return next(one for one in found["capabilities"] if one["name"] == name)


def test_doctor(lab):
    status, found = doctor(lab)
    assert status == 0
    assert found["devices"][0]["name"] == "eth0" and found["devices"][0]["datapath"] == "xdp"
    assert finding(found, "bpf(2)")["status"] == "ok"
    for one in found["capabilities"]:
        assert one["reason"], one
        assert one["status"] == "ok" or (one["consequence"] and one["advice"]), one
    status, table = doctor(lab, flags=("--adapter", "eth0"))
    assert status == 0
    for one in found["capabilities"]:
        assert one["name"] in table


def test_doctor_changes_nothing(lab):
    before = state(lab)
    doctor(lab)
    assert state(lab) == before


def test_doctor_without_bpf(lab):
    status, found = doctor(lab, *NO_BPF)
    has_ipvs = finding(found, "IPVS")["status"] == "ok"
    assert (status, found["devices"][0]["datapath"]) == ((0, "ipvs") if has_ipvs else (1, "none"))
    assert finding(found, "bpf(2)")["status"] == "missing"
    status, found = doctor(lab, *FORBIDDEN_BPF)
    assert finding(found, "bpf(2)")["status"] == "refused"


def test_doctor_without_privilege(lab):
    status, found = doctor(lab, *without("net_admin", "sys_admin", "bpf"))
    assert finding(found, "privilege")["status"] == "refused"
    assert status == 1


def test_doctor_beside_a_foreign_program(lab, foreign_xdp):
    _, found = doctor(lab)
    assert finding(found, "native XDP on eth0")["status"] == "refused"
    assert found["devices"][0]["datapath"] == "tc" and "lab_pass" in found["devices"][0]["reasons"][0]
    assert foreign_xdp()


@pytest.mark.parametrize("flags", (["--fast"], ["--adapter"], ["eth0"]))
def test_doctor_of_a_wrong_command_line(lab, flags):
    done = lab.run("node", [harness.binary(), "doctor", *flags], check=False)
    assert done.returncode == 2 and "--adapter NAME" in done.stderr


def test_doctor_of_no_such_device(lab):
    done = lab.run("node", [harness.binary(), "doctor", "--adapter", "nope"], check=False)
    assert done.returncode == 1 and "nope" in done.stderr


def test_the_api_tells_the_same(slb, api):
    found = api.get("/capabilities")
    assert finding(found, "bpf(2)")["status"] == "ok"
