#!/bin/busybox sh
# First process of the guest: modules, the network, then the disk's root; without a disk, on from here.
# The kernel's command line says lab.address=ADDRESS/BITS and, if there is one, lab.gateway=ADDRESS.
bb=/bin/busybox

$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys

say() {
	echo "<3>guest: $*" >/dev/kmsg
}

while read -r module; do
	$bb insmod "/lib/modules/$module" || say "module $module cannot be loaded"
done </lib/modules/list

word() {
	$bb sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline
}

address=$(word lab.address)
gateway=$(word lab.gateway)
$bb ip link set lo up
if [ -n "$address" ] && [ -e /sys/class/net/eth0 ]; then
	$bb ip addr add "$address" brd + dev eth0
	$bb ip link set eth0 up
	[ -z "$gateway" ] || $bb ip route add default via "$gateway"
elif [ -n "$address" ]; then
	say "there is no network device for $address"
fi

if [ -b /dev/vda ]; then
	if $bb mount -t ext4 /dev/vda /newroot; then
		for folder in dev proc sys; do
			$bb mount --move "/$folder" "/newroot/$folder"
		done
		exec $bb switch_root /newroot /sbin/init
	fi
	say "the disk has no file system that can be mounted"
fi
exec $bb init
