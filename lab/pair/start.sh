#!/bin/sh
# Brings a host of a pair from its first command to a running ftd: start.sh NUMBER, the last part of its addresses.
# The client network's device becomes a port of a bridge, `client`: guests with a network of their own join it there.
set -eu
number=$1

ip -batch - <<END
link set client name client0
link add client type bridge stp_state 0 mcast_snooping 0
link set client0 master client up
link set client up
link set repl up
link set mgmt up
link set ask up
address add 10.0.0.$number/24 dev repl
address add 10.0.1.$number/24 dev client
address add 10.0.2.$number/24 dev mgmt
address add 10.0.3.$number/24 dev ask
END
mkdir -p /run/ftd /var/lib/ftd /var/log

# What begins and ends is told here; whoever polled for it would take the processor from what it waits for.
mkfifo /run/lab-news
exec 4<>/run/lab-news
socat -u UNIX-RECV:/run/lab-notify STDOUT </dev/null 2>/dev/null | while read -r line; do
	[ "$line" != "READY=1" ] || echo ready >&4
done &
until [ -S /run/lab-notify ]; do sleep 0.02; done

# As systemd/ftd.service: ended by a failure, it is started again; not with a configuration that cannot be used.
serve() {
	while :; do
		status=0
		NOTIFY_SOCKET=/run/lab-notify ftd --config /etc/ftd/ftd.toml || status=$?
		echo "lab: ftd ended with $status"
		echo ended >&4
		[ "$status" != 2 ] || exit 2
		sleep 1
	done
}
serve </dev/null >>/var/log/ftd.log 2>&1 &

# The lab's questions to ftd, over the network that is never cut.
socat "TCP-LISTEN:7700,bind=10.0.3.$number,reuseaddr,fork" UNIX-CONNECT:/run/ftd/ctl.sock </dev/null >/dev/null 2>&1 &

read -r news <&4
if [ "$news" != ready ]; then
	tail -n 20 /var/log/ftd.log
	exit 1
fi
