#!/bin/sh
# The fence device of a pair's hosts, by the conventions of fence-agents: options one a line on standard input, an
# exit code. What does it is the lab's power switch (lab/pair/power.py), over the network that is never cut.
while IFS='=' read -r name value; do
	case $name in
	action) action=$value ;;
	plug) plug=$value ;;
	esac
done
answer=$(echo "$action $plug" | socat -t 30 - TCP:10.0.3.254:7800) || exit 1
exit "$answer"
