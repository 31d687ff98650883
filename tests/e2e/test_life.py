# SPDX-License-Identifier: GPL-2.0-only
"""Start, clean stop, crash, restart: what stays and what is put back."""
import json
import re

import pytest

from harness import Api, wait_for

POOL = ("--ipamRange", "10.80.96.85-10.80.96.90")


def stable(thing):
    """An answer without what counts up by itself."""
    if isinstance(thing, dict):
        return {key: stable(value) for key, value in thing.items() if key not in ("traffic", "drops")}
    if isinstance(thing, list):
        return [stable(value) for value in thing]
    return thing


def sysctls(lab):
    """The node's network settings; not what only counts."""
    lines = lab.run("node", ["sysctl", "-ar", r"^net\."], check=False).stdout.splitlines()
    return dict(line.split(" = ", 1) for line in lines if " = " in line and "_count =" not in line)


def balanced(api, backends, port):
    balancer = api.create(port=port)
    for ip in backends.addresses.values():
        api.add_backend(balancer, ip, port)
    return balancer


def test_a_crash_loses_nothing(fresh_slb, lab, backends, traffic):
    slb = fresh_slb(*POOL)
    api = Api(lab, slb)
    web = balanced(api, backends, backends.HTTP)
    echo = balanced(api, backends, backends.ECHO)
    udp = api.create(port=53, protocol="udp", name="no backends")
    before = stable(api.balancers())
    url = f"http://{web['eip']}:{web['port']}/"

    with traffic.hold(echo["eip"], backends.ECHO) as held, traffic.load(url) as load:
        wait_for(lambda: len(load.now()["answers"]) == 3, "all backends to answer")
        slb.kill()
        rounds = held.now()["rounds"]
        answered = sum(load.now()["answers"].values())
        wait_for(lambda: held.now()["rounds"] > rounds + 5, "connections to go on without slb")
        wait_for(
            lambda: sum(load.now()["answers"].values()) > answered + 100,
            "new connections to be balanced without slb",
        )
        slb.start()
        assert stable(api.balancers()) == before
        rounds = held.now()["rounds"]
        wait_for(lambda: held.now()["rounds"] > rounds + 5, "connections to survive the restart")
        assert load.end()["errors"] == []
        assert held.end()["errors"] == []

    # It goes on as if nothing had been: exact, and with the next free address.
    assert sorted(traffic.get(url, count=100)["answers"].values()) == [33, 33, 34]
    assert api.create()["eip"] == "10.80.96.88"
    api.delete(udp)
    assert api.create()["eip"] == udp["eip"]


def test_a_crash_right_after_an_answer(fresh_slb, lab):
    slb = fresh_slb(*POOL)
    api = Api(lab, slb)
    for _ in range(3):
        made = api.create()
        slb.kill()
        slb.start()
        assert stable(made) in stable(api.balancers())


def test_a_clean_stop_takes_everything_back(fresh_slb, lab, backends):
    addresses = lab.run("node", ["ip", "-br", "address"]).stdout
    slb = fresh_slb(*POOL)
    api = Api(lab, slb)
    balancer = balanced(api, backends, backends.HTTP)
    slb.stop()
    assert lab.run("node", ["ip", "-br", "address"]).stdout == addresses
    assert slb.xdp_mode("eth0") is None
    assert not [path for path in lab.bpf_path.rglob("slb/*") if not path.is_dir()]
    # The desired state is kept all the same.
    slb.start()
    assert stable(api.balancers()[0])["eip"] == balancer["eip"]
    answer = lab.run("client", ["curl", "-sS", "-m", "5", f"http://{balancer['eip']}:6443/"])
    assert answer.stdout in ("b1\n", "b2\n", "b3\n")


def test_stop_and_keep(fresh_slb, lab, backends, traffic):
    slb = fresh_slb(*POOL, "--on-exit", "keep")
    api = Api(lab, slb)
    balancer = balanced(api, backends, backends.HTTP)
    slb.stop()
    result = traffic.get(f"http://{balancer['eip']}:6443/", count=30)
    assert result["errors"] == []
    assert result["answers"] == {"b1": 10, "b2": 10, "b3": 10}
    slb.flags[-1] = "withdraw"
    slb.start()


def test_sysctls_are_set_logged_and_restored(fresh_slb, lab):
    before = sysctls(lab)
    slb = fresh_slb(*POOL)
    during = sysctls(lab)
    changed = {name for name in during if name in before and during[name] != before[name]}
    assert "net.ipv4.ip_forward" in changed
    # The kernel makes that a router's settings on every device; nothing else was touched.
    by_kernel = re.compile(r"net\.ipv4\.conf\..+\.(forwarding|accept_redirects)")
    assert {name for name in changed if not by_kernel.fullmatch(name)} == {"net.ipv4.ip_forward"}
    assert "Enabled IPv4 Forwarding in the kernel" in slb.log()
    assert "net/ipv4/ip_forward to 1 (it was 0)" in slb.log()
    slb.stop()
    after = sysctls(lab)
    assert {name: after[name] for name in before} == before


def test_sysctls_are_restored_when_a_crash_came_between(fresh_slb, lab):
    before = sysctls(lab)
    slb = fresh_slb(*POOL)
    slb.kill()
    slb.start()
    slb.stop()
    after = sysctls(lab)
    assert {name: after[name] for name in before} == before


LOG_LINES = {
    "text": r"(INFO|WARN|ERRO|DEBU)\[\d{4,}\] .+",
    "logfmt": r'time=[-\dT:]{19}Z level=(info|warn|error|debug) msg="([^"\\]|\\.)*"',
    "json": r"\{.*\}",
}


@pytest.mark.parametrize("form", LOG_LINES)
def test_log_formats(fresh_slb, lab, form):
    slb = fresh_slb(*POOL, "--log-format", form)
    Api(lab, slb).create(name='a "name"')
    slb.stop()
    lines = slb.log().splitlines()
    assert "Starting the Steel Load-Balancer" in lines[0]
    for line in lines:
        assert re.fullmatch(LOG_LINES[form], line), line
        if form == "json":
            assert {"time", "level", "msg"} <= json.loads(line).keys()


def test_the_first_line_reads_as_it_did(fresh_slb):
    slb = fresh_slb(*POOL)
    assert slb.log().startswith("INFO[0000] Starting the Steel Load-Balancer\n")
