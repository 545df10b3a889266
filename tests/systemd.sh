#!/usr/bin/env bash
# The units that are shipped are units.
set -euo pipefail
cd "$(dirname "$0")/../tools/systemd"
runtime=$(mktemp -d)
trap 'rm -rf "$runtime"' EXIT
XDG_RUNTIME_DIR=$runtime systemd-analyze --user --man=no verify ./*.service ./*.timer
# Who is to hear of a needed login, if nobody reads the exit code?
if grep -n -e '--quiet' ./*.service; then exit 1; fi
echo "systemd: the units are in order"
