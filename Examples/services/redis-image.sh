#!/usr/bin/env bash
# Packs Debian's Redis and busybox, with the libraries that they need, into a root file system: a tar for `jobctl image import`.
#   apt-get install redis-tools busybox-static
#   Examples/services/redis-image.sh redis.tar
set -euo pipefail

file=${1:?usage: redis-image.sh FILE.tar}
root=$(mktemp -d /tmp/jobctl-redis.XXXXXX)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/etc" "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"; done
cp -L "$(command -v redis-cli)" "$root/bin/redis-cli"
# Redis is one program, which looks at its name; redis-tools has it as the checker of its files.
cp -L "$(command -v redis-check-rdb)" "$root/bin/redis-server"
for library in $(ldd "$root/bin/redis-cli" "$root/bin/redis-server" | grep -o '/[^ ]*\.so[^ ]*' | sort -u); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$file" .
