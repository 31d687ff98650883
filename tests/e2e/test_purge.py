# SPDX-License-Identifier: GPL-2.0-only
"""`slb purge`: after a crash nothing of slb stays on the node; beside a running one it does nothing."""
from harness import Api

POOL = ("--ipamRange", "10.80.96.85-10.80.96.90")


def purge(slb):
    return slb.run("purge", "--state-dir", str(slb.state_dir), "--pin-path", str(slb.pin_path))


def test_purge_after_a_crash(fresh_slb, lab, backends):
    addresses = lab.run("node", ["ip", "-br", "address"]).stdout
    forwarding = lab.run("node", ["sysctl", "-n", "net.ipv4.ip_forward"]).stdout
    slb = fresh_slb(*POOL)
    api = Api(lab, slb)
    balancer = api.create(port=backends.HTTP)
    api.add_backend(balancer, backends.addresses["b1"], backends.HTTP)
    # Not while it runs.
    busy = purge(slb)
    assert busy.returncode == 1 and "running slb" in busy.stderr
    assert f"{balancer['eip']}/32" in slb.addresses() and slb.xdp_mode() == "driver"

    slb.kill()
    assert f"{balancer['eip']}/32" in slb.addresses() and slb.xdp_mode() == "driver"
    done = purge(slb)
    assert done.returncode == 0, done.stderr
    assert f"Removed the VIP {balancer['eip']}" in done.stdout
    assert "Removed the eBPF programs" in done.stdout
    assert lab.run("node", ["ip", "-br", "address"]).stdout == addresses
    assert lab.run("node", ["sysctl", "-n", "net.ipv4.ip_forward"]).stdout == forwarding
    assert slb.xdp_mode() is None
    assert "slb" not in lab.run("node", ["tc", "filter", "show", "dev", "eth0", "ingress"]).stdout
    assert not [path for path in lab.bpf_path.rglob("slb/*") if not path.is_dir()]

    # Again, with nothing left; and the desired state is still there.
    again = purge(slb)
    assert again.returncode == 0 and "Removed" not in again.stdout
    slb.start()
    assert [one["uuid"] for one in api.balancers()] == [balancer["uuid"]]


def test_purge_of_a_node_that_never_had_slb(fresh_slb, lab, tmp_path):
    slb = fresh_slb(*POOL)
    slb.stop()
    done = slb.run("purge", "--state-dir", str(tmp_path / "none"), "--pin-path", "/sys/fs/bpf/none")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Nothing of slb is left on this node\n"
    wrong = slb.run("purge", "--state-dir", "relative")
    assert wrong.returncode == 2
