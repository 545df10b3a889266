#!/usr/bin/env bash
# What `cmake --install` puts into place works from there: the command with its HTTP module, and the units.
#
#   tests/install.sh BUILD_DIRECTORY
set -euo pipefail
build=$(realpath "$1")
scratch=$(mktemp -d)
portal=
leave() { [ -n "$portal" ] && kill "$portal"; rm -rf "$scratch"; }
trap leave EXIT

(umask 022 && cmake --install "$build" --prefix "$scratch/usr" >"$scratch/installed")
for file in bin/authdb lib/systemd/user/authdb-keep-fresh.{service,timer}; do
  [ -f "$scratch/usr/$file" ] || { echo "$file is not installed" >&2; exit 1; }
done

umask 077
"$build/bin/authdb-portal" --port-file "$scratch/portal" --quiet --exit-with-parent --auto-approve-device >"$scratch/portal.out" &
portal=$!
until [ -s "$scratch/portal" ]; do kill -0 "$portal"; done
installed() {
  env -i HOME="$scratch" HERMES_PORTAL_BASE_URL="$(cat "$scratch/portal")" "$scratch/usr/bin/authdb" "$@"
}
installed --version
installed login nous --no-browser --quiet >/dev/null
[ -n "$(installed token nous)" ] || { echo "the installed command gave no bearer" >&2; exit 1; }
echo "install: the command works from where it was put"
