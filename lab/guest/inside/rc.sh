#!/bin/sh
# What the guest's init does before it starts the services.
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
hostname guest
# Redis forks to write its file anew: the kernel shall not reckon that as twice its memory.
sysctl -q vm.overcommit_memory=1
