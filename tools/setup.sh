#!/bin/sh
# Brings a bare Debian to where the Makefile's targets can run: setup.sh VENV, with $PACKAGES.
#
# Installs the Debian packages of $PACKAGES that are missing (once `apt-get update`), makes the virtual
# environment VENV with a Python of 3.11 or later, and installs ftd into it in editable mode.
set -eu

venv=$1

fail() {
	echo "setup: $*" >&2
	exit 1
}

missing_packages() {
	for package in $PACKAGES; do
		dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
			echo "$package"
	done
}

install_missing() {
	missing=$(missing_packages | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" = 0 ]; then
		as_root=
	elif command -v sudo >/dev/null; then
		as_root=sudo
	else
		fail "these Debian packages are missing, and this is neither root nor is there sudo: $missing"
	fi
	echo "setup: installing $missing"
	# shellcheck disable=SC2086 # both are lists
	{
		$as_root apt-get -qq update
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends install $missing
	}
}

# The system's own Python first: its headers and venv module are what $PACKAGES installs.
find_python() {
	for python in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
		if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
			echo "$python"
			return
		fi
	done
	fail "no Python of 3.11 or later with its venv module was found"
}

if command -v dpkg-query >/dev/null; then
	install_missing
else
	echo "setup: no dpkg here; taking it that there are: $PACKAGES"
fi
python=$(find_python)
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
