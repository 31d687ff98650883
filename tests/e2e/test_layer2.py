# SPDX-License-Identifier: GPL-2.0-only
"""What the other machines of the segment see of a VIP. RFC 826 (ARP), RFC 5227 (announcements)."""
import json
import re

from harness import Capture, wait_for


def announcements(capture, vip, mac):
    """Gratuitous ARP for `vip` from `mac`, as request or reply, to everyone."""
    vip = re.escape(vip)
    pattern = (
        rf"{mac} > ff:ff:ff:ff:ff:ff, .*"
        rf"(Announcement {vip}|who-has {vip} .*tell {vip}|Reply {vip} is-at {mac})"
    )
    return [line for line in capture.lines() if re.search(pattern, line)]


def test_the_vip_is_on_the_adapter(api, slb):
    balancer = api.create()
    assert f"{balancer['eip']}/32" in slb.addresses("eth0")
    api.delete(balancer)
    assert f"{balancer['eip']}/32" not in slb.addresses("eth0")


def test_arping_and_ip_neigh_show_the_nodes_mac(api, slb, lab):
    balancer = api.create()
    said = lab.run("client", ["arping", "-c", "2", "-w", "5", "-i", "eth0", balancer["eip"]]).stdout
    assert slb.mac() in said.lower()
    # Any packet makes b1 ask for the address; that nobody listens there does not matter.
    lab.run("b1", ["curl", "-s", "-m", "2", f"http://{balancer['eip']}:9/"], check=False)
    shown = lab.run("b1", ["ip", "-j", "neigh", "show", balancer["eip"]]).stdout
    assert json.loads(shown)[0]["lladdr"] == slb.mac()


def test_gratuitous_arp_at_once_and_repeated(api, slb, lab):
    with Capture(lab, "b2", "arp") as capture:
        balancer = api.create()
        seen = lambda: announcements(capture, balancer["eip"], slb.mac())
        wait_for(seen, "the first gratuitous ARP", timeout_s=1)
        wait_for(lambda: len(seen()) >= 5, "gratuitous ARP to be repeated", timeout_s=15)


def test_gratuitous_arp_when_the_link_comes_back(api, slb, lab):
    balancer = api.create()
    lab.unplug("node")
    with Capture(lab, "b2", "arp") as capture:
        assert announcements(capture, balancer["eip"], slb.mac()) == []
        lab.plug("node")
        wait_for(
            lambda: announcements(capture, balancer["eip"], slb.mac()),
            "gratuitous ARP after the link came back",
            timeout_s=5,
        )


def test_a_stale_neighbour_entry_is_corrected(api, slb, lab):
    """As after a VIP has moved here from another machine."""
    balancer = api.create()
    vip = balancer["eip"]
    api.delete(balancer)
    lab.run("client", ["ip", "neigh", "replace", vip, "lladdr", "02:00:00:00:00:99", "nud", "stale",
                       "dev", "eth0"])  # fmt: skip
    assert api.create()["eip"] == vip

    def learned():
        shown = json.loads(lab.run("client", ["ip", "-j", "neigh", "show", vip]).stdout)
        return shown and shown[0].get("lladdr") == slb.mac()

    wait_for(learned, "the client to learn the node's MAC", timeout_s=5)


def test_nobody_answers_for_a_deleted_vip(api, lab):
    balancer = api.create()
    api.delete(balancer)
    done = lab.run(
        "client", ["arping", "-c", "1", "-w", "1", "-i", "eth0", balancer["eip"]], check=False
    )
    assert done.returncode != 0


def test_the_vip_is_put_back_when_someone_takes_it_off(api, slb, lab):
    balancer = api.create()
    lab.run("node", ["ip", "address", "del", f"{balancer['eip']}/32", "dev", "eth0"])
    wait_for(
        lambda: f"{balancer['eip']}/32" in slb.addresses("eth0"), "the VIP to be put back", 15
    )
