#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# IPVS with NAT and masquerade carries HTTP between namespaces: client - node - two backends, which have no route
# back to the client. Prints who answered, then what IPVS counted. Run in guests by test_ipvs.py.
set -e

for name in client one two; do
	ip netns add $name
	ip link add $name type veth peer name eth0 netns $name
	ip link set $name up
	ip -n $name link set lo up
	ip -n $name link set eth0 up
done
ip link add lan type bridge
ip link set lan up
ip link set one master lan
ip link set two master lan
ip addr add 10.1.0.1/24 dev client
ip addr add 10.2.0.1/24 dev lan
ip -n client addr add 10.1.0.2/24 dev eth0
ip -n one addr add 10.2.0.11/24 dev eth0
ip -n two addr add 10.2.0.12/24 dev eth0
for name in one two; do
	mkdir /tmp/$name
	echo $name >/tmp/$name/index.html
	ip netns exec $name httpd -p 8080 -h /tmp/$name
done

sysctl -qw net.ipv4.ip_forward=1
ip addr add 10.1.0.9/32 dev client
ipvsadm -A -t 10.1.0.9:80 -s rr
ipvsadm -a -t 10.1.0.9:80 -r 10.2.0.11:8080 -m
ipvsadm -a -t 10.1.0.9:80 -r 10.2.0.12:8080 -m
# Without this, what IPVS rewrites passes the nat table by.
sysctl -qw net.ipv4.vs.conntrack=1
nft 'table ip nat { chain post { type nat hook postrouting priority 100; ip daddr 10.2.0.0/24 masquerade; }; }'

for _ in 1 2 3 4 5 6; do
	ip netns exec client curl -s --max-time 5 http://10.1.0.9/
done
ipvsadm -ln --stats
