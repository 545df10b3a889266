#!/usr/bin/env bash
# The README's commands, run as a reader would: each must succeed, and the session must print what the
# README shows, but for numbers, times and names drawn by chance.
#
#   tests/readme.sh BIN_DIRECTORY            checks
#   tests/readme.sh BIN_DIRECTORY --session  prints the session, to be pasted
set -euo pipefail
bin=$(realpath "$1")
cd "$(dirname "$0")/.."
readme=$PWD/README.md samples=$PWD/tests/data/samples

scratch=$(mktemp -d)
umask 077
portal=
leave() { [ -n "$portal" ] && kill "$portal"; rm -rf "$scratch"; }
trap leave EXIT

# The stage: a home with the samples for a Hermes root, and a portal that knows their live tokens.
mkdir -p "$scratch/.hermes/profiles"/{atlas,forge}
install -m 600 "$samples/01_root_old_v011.json" "$scratch/.hermes/auth.json"
install -m 600 "$samples/02_profile_atlas_cloned_old.json" "$scratch/.hermes/profiles/atlas/auth.json"
install -m 600 "$samples/03_profile_forge_forked_newer_old.json" "$scratch/.hermes/profiles/forge/auth.json"
"$bin/authdb-portal" --port-file "$scratch/portal" --quiet --exit-with-parent --auto-approve-device >"$scratch/portal.out" &
portal=$!
until [ -s "$scratch/portal" ]; do kill -0 "$portal"; done
url=$(cat "$scratch/portal")
curl -sS --fail -o /dev/null -d '{"refresh_token":"nrt_FAKE_shared_refresh_CCCC"}' "$url/_control/adopt"

in_home() {
  env -i HOME="$scratch" PATH="$bin:/usr/bin:/bin" HERMES_PORTAL_BASE_URL="$url" \
    NOUS_INFERENCE_BASE_URL="$url/v1" bash -c "cd; $1" 2>&1
}

# The session: its commands are the lines with a dollar in README's console block.
console() { sed -n '/^```console$/,/^```$/p' "$readme" | sed '1d;$d'; }
play_session() {
  console | sed -n 's/^\$ //p' | while IFS= read -r command; do
    printf '$ %s\n' "$command"
    in_home "$command"
  done
}
# Numbers, drawn names and the width of columns differ from run to run.
blurred() {
  sed -E "s#$scratch#/home/pat#g; s/\b[a-z2-7]{12}\b/UID/g; s/sha256:[0-9a-f]{16}/sha256:FP/g; s/SIM-[0-9a-f]+/SIM-X/g
    s/[0-9]+(\.[0-9]+)?/N/g; s/\bNd Nh\b/Nd/g; s/ +/ /g; s/ \$//; s/(-+ ?)+\$//"
}

if [ "${2:-}" = --session ]; then
  play_session | sed "s#$scratch#/home/pat#g"
  exit 0
fi

play_session | blurred >"$scratch/played"
console | blurred >"$scratch/shown"
diff -u "$scratch/shown" "$scratch/played" || {
  echo "README's session is not what its commands print" >&2
  exit 1
}

# The recipes: every line of the `sh` blocks but the two commands at the top, which are tested by being run.
commands=0
while IFS= read -r command; do
  in_home "$command" >"$scratch/out" || {
    echo "README: this failed: $command" >&2
    cat "$scratch/out" >&2
    exit 1
  }
  commands=$((commands + 1))
done < <(sed -n '/^```sh$/,/^```$/p' "$readme" | grep -vE '^```|^\./')
# A script must not go on without its token: where authdb fails, so does what is built on it.
while IFS= read -r command; do
  if in_home "export AUTHDB_STORE=\$HOME/nowhere/auth.db; $command" >"$scratch/out"; then
    echo "README: this succeeds without a token: $command" >&2
    exit 1
  fi
done < <(sed -n '/^```sh$/,/^```$/p' "$readme" | grep -F '$(authdb')
[ "$commands" -ge 15 ] || { echo "only $commands recipes found in README" >&2; exit 1; }
echo "README: the session and $commands recipes are true"
