#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Attaches probes to veth devices the ways slb does and passes traffic through them. Prints one `name value` per line.
# Run in guests by test_attach.py, with bpfload, probes/ and packet.py beside it.

kill_server() { kill "$server" 2>/dev/null; }
trap kill_server EXIT

ip netns add client
ip netns add server
ip link add v0 netns client type veth peer name v1 netns server
for pair in "client v0 10.77.0.1" "server v1 10.77.0.2"; do
	read -r namespace device address <<<"$pair"
	ip -n $namespace link set lo up
	ip -n $namespace link set $device up
	ip -n $namespace addr add $address/24 dev $device
done
# The address that the probe translates.
ip -n server addr add 10.77.0.9/32 dev v1
# ip netns exec would hide the bpf file system.
on_client() { nsenter --net=/run/netns/client "$@"; }
on_server() { nsenter --net=/run/netns/server "$@"; }

head -c 8000000 /dev/urandom >/tmp/blob
want=$(sha256sum </tmp/blob)
on_server httpd -f -p 10.77.0.2:8080 -h /tmp &
server=$!
fetch() {
	rm -f /tmp/got
	on_client curl -s --max-time 20 --retry 10 --retry-connrefused --retry-delay 1 -o /tmp/got http://10.77.0.9/blob
	[ "$(sha256sum </tmp/got)" = "$want" ] && echo "$1 same" || echo "$1 different"
}

# BPF_PROG_TEST_RUN: a whole packet in and out.
packet=$(python3 packet.py)
for hook in xdp tc; do
	out=$(./bpfload --run probe_csum_in "$packet" probes/csum_$hook.bpf.o | awk '$1 == "run" { print $5 }')
	echo "run_$hook $(python3 packet.py "$out")"
done

# tc, on packets that the device is to checksum and segment.
on_server tc qdisc add dev v1 clsact
bpftool prog loadall probes/csum_tc.bpf.o /sys/fs/bpf/tc
on_server tc filter add dev v1 ingress bpf da pinned /sys/fs/bpf/tc/probe_csum_in
on_server tc filter add dev v1 egress bpf da pinned /sys/fs/bpf/tc/probe_csum_out
on_server tcpdump -lnn -c 200 -i v1 tcp src port 80 >/tmp/segments 2>/dev/null &
dump=$!
fetch tc_offload
kill $dump 2>/dev/null
echo "tc_largest_segment $(grep -o 'length [0-9]*' /tmp/segments | sort -n -k2 | tail -1 | cut -d' ' -f2)"
on_client ethtool -K v0 tx off tso off gso off >/dev/null
on_server ethtool -K v1 tx off tso off gso off >/dev/null
fetch tc_plain
on_server tc qdisc del dev v1 clsact

# XDP through libxdp's dispatcher: two programs on one device, both see the packets.
on_server xdp-loader load -m native v1 probes/csum_xdp.bpf.o -n probe_csum_in >/dev/null
on_server xdp-loader load -m native v1 probes/spin_lock_xdp.bpf.o >/dev/null
on_server xdp-loader status v1 >/tmp/status
cat /tmp/status
echo "xdp_device $(awk '$1 == "v1" { print $2, $3 }' /tmp/status)"
echo "xdp_programs $(awk '$1 == "=>" { print $3 }' /tmp/status | sort | xargs)"
on_client ping -q -c 2 -W 2 10.77.0.2 >/dev/null && echo "xdp_ping ok"
on_server xdp-loader unload v1 -a >/dev/null 2>&1
exit 0
