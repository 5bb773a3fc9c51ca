#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# make-tree.sh FOLDER [ARCHIVE]: makes in FOLDER, which must not exist, the source tree that dkms builds from.
#
# ARCHIVE is the one of Debian's package linux-source-6.12 (default: where that package puts it), of the version of
# the kernel that the modules are for. Patched are KVM's own files and the headers that they need; everything else
# comes from the kernel's headers package when dkms builds. As root, for the kernel that runs:
#
#     make-tree.sh /usr/src/ftd-kvm-6.12.VERSION
#     dkms install ftd-kvm/6.12.VERSION
set -eu

patches=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:?"make-tree.sh: give the folder to make, such as /usr/src/ftd-kvm-6.12.43"}
archive=${2:-/usr/src/linux-source-6.12.tar.xz}

fail() {
	echo "make-tree.sh: $*" >&2
	exit 1
}

[ ! -e "$folder" ] || fail "$folder exists already"
[ -f "$archive" ] || fail "there is no $archive: install Debian's package linux-source-6.12"
mkdir -p "$folder"
scratch=$(mktemp -d "$folder/source.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

top=$(basename "$archive" .tar.xz)
tar --extract --file "$archive" --directory "$scratch" --strip-components=1 \
	"$top/Makefile" "$top/arch/x86/kvm" "$top/arch/x86/include/asm" "$top/virt/kvm" \
	"$top/include/linux" "$top/include/uapi/linux" "$top/Documentation/virt/kvm"
for name in $(sed 's/#.*//' "$patches/series"); do
	patch --directory "$scratch" --strip=1 --fuzz=0 --quiet --input "$patches/$name" || fail "$name does not apply to $archive"
done

mkdir -p "$folder/arch/x86" "$folder/virt" "$folder/include/uapi"
cp -r "$scratch/arch/x86/kvm" "$folder/arch/x86/"
cp -r "$scratch/virt/kvm" "$folder/virt/"
for name in $(sed 's/#.*//' "$patches/series"); do
	sed -n 's|^+++ b/||p' "$patches/$name"
done | grep -E '^(arch/x86/)?include/' | sort -u | while read -r header; do
	mkdir -p "$folder/$(dirname "$header")"
	cp "$scratch/$header" "$folder/$header"
done

# In the kernel's own tree $(srctree) has KVM; here it is the headers package, which has not. Our headers come first;
# include/uapi must be there even if it were empty: the trace headers are found relative to it.
makefile=$folder/arch/x86/kvm/Makefile
sed -e 's|\$(srctree)/arch/x86/kvm|$(src)|' -e 's|\$(srctree)/virt/kvm|$(src)/../../../virt/kvm|' \
	"$scratch/arch/x86/kvm/Makefile" >"$makefile"
cat >>"$makefile" <<'END'

ftd-kvm := $(src)/../../..
LINUXINCLUDE := -I$(ftd-kvm)/arch/x86/include -I$(ftd-kvm)/include -I$(ftd-kvm)/include/uapi $(LINUXINCLUDE)
END

number() {
	sed -n "s/^$1 = //p" "$scratch/Makefile"
}
version=$(number VERSION).$(number PATCHLEVEL).$(number SUBLEVEL)
pattern=$(echo "$version" | sed 's/\./\\\\./g')
sed -e "s/@VERSION@/$version/" -e "s/@VERSION_PATTERN@/$pattern/" "$(dirname "$0")/dkms.conf.in" >"$folder/dkms.conf"
echo "made $folder: ftd-kvm/$version"
