#!/bin/busybox sh
# First process of a host: loads the modules, mounts the root if there is one, then runs the commands that come over
# the port "control", one at a time. A command is a line: seconds, then the text in base64. The answer is the
# command's output, then a line with the token of this boot and the exit status.
bb=/bin/busybox
PATH=/bin:/sbin:/usr/bin:/usr/sbin
export PATH HOME=/root

$bb mkdir -p /proc /sys /dev /tmp /root /run
$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t tmpfs tmp /tmp
$bb mkdir -p /dev/shm /dev/pts
$bb mount -t tmpfs shm /dev/shm
$bb mount -t devpts pts /dev/pts
$bb mount -t debugfs debug /sys/kernel/debug
$bb mount -t tracefs trace /sys/kernel/tracing
$bb mount -t cgroup2 cgroup /sys/fs/cgroup

fail() {
	echo "lab: $*" >/dev/kmsg
	# Without this the line is lost in the emulator's last moment.
	$bb sleep 0.2
	$bb poweroff -f
}

while read -r module parameters; do
	# shellcheck disable=SC2086 # a list
	$bb insmod "/lab/modules/$module" $parameters || fail "module $module $parameters cannot be loaded"
done </lab/modules.list

port() {
	for name in /sys/class/virtio-ports/*/name; do
		if [ "$($bb cat "$name")" = "$1" ]; then
			name=${name%/name}
			echo "/dev/${name##*/}"
			return
		fi
	done
	fail "there is no port $1"
}

. /lab/boot.conf
shell="/bin/sh"
interactive="sh"
if [ -n "$LAB_ROOT" ]; then
	# Written to memory only: the image is shared by all hosts.
	$bb mkdir -p /lower /upper /newroot
	$bb mount -t ext4 -o ro,noload /dev/vda /lower || fail "the root image cannot be mounted"
	$bb mount -t tmpfs upper /upper
	$bb mkdir /upper/up /upper/work
	$bb mount -t overlay -o lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work overlay /newroot ||
		fail "the root's overlay cannot be mounted"
	for folder in proc sys dev tmp run; do
		$bb mkdir -p "/newroot/$folder"
	done
	# Not /tmp: the overlay is in memory as it is, and the project may lie below the root's own.
	for folder in proc sys dev; do
		$bb mount --rbind "/$folder" "/newroot/$folder"
	done
	$bb mount -t tmpfs run /newroot/run
	if [ -n "$LAB_STATE" ]; then
		$bb mount -t ext4 /dev/vdb /newroot/var/lib || fail "the state disk cannot be mounted"
	fi
	[ ! -d /lab/files ] || $bb cp -a /lab/files/. /newroot/
	shell="$bb chroot /newroot /bin/sh"
	interactive="bash"
else
	[ ! -d /lab/files ] || $bb cp -a /lab/files/. /
fi
$bb ip link set lo up
$bb ip addr add 127.0.0.1/8 dev lo 2>/dev/null
$bb hostname "$LAB_NAME"
while read -r mac nic; do
	for address in /sys/class/net/*/address; do
		if [ "$($bb cat "$address")" = "$mac" ]; then
			address=${address%/address}
			$bb ip link set "${address##*/}" name "$nic" || fail "network device $mac cannot be called $nic"
		fi
	done
	[ -d "/sys/class/net/$nic" ] || fail "there is no network device $nic ($mac)"
done </lab/nics.list

PATH=$LAB_SEARCH/usr/local/bin:$PATH
if [ -n "$LAB_SHELL" ]; then
	while :; do
		TERM=xterm $bb setsid -c $shell -c "cd '$LAB_FOLDER'; exec $interactive -i" \
			<"/dev/$LAB_SHELL" >"/dev/$LAB_SHELL" 2>&1
		$bb sleep 0.2
	done &
fi
exec 3<>"$(port control)" || fail "the port control cannot be opened"
LAB_FILES_PORT=$(port files)
export LAB_FILES_PORT
printf '%s 0\n' "$LAB_TOKEN" >&3
while read -r seconds encoded <&3; do
	command=$(echo "$encoded" | $bb base64 -d)
	# shellcheck disable=SC2086 # a command and its words
	$bb timeout -s KILL "$seconds" $shell -c "cd '$LAB_FOLDER' && $command" </dev/null >&3 2>&1
	printf '\n%s %s\n' "$LAB_TOKEN" "$?" >&3
done
$bb poweroff -f
