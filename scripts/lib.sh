# Steps that quickstart and test share. Sourced by bash from the project's root, with set -euo pipefail.

say() { printf '· %s\n' "$*"; }

# fail WHAT WHY NEXT
fail() {
  printf '\n✗ %s\n  why:  %s\n  next: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || fail "this needs root" "it installs Debian packages and mounts a filesystem" "sudo $0 $*"
}

need_node() {
  command -v node >/dev/null || fail "node is missing" "weft is built and run with Node 20" "install Node 20 (nodejs.org or nodesource.com), then run this again"
  node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 15) ? 0 : 1)' ||
    fail "node $(node -v) is too old" "weft needs 20.15 or newer" "install a newer Node 20"
  command -v npm >/dev/null || fail "npm is missing" "it comes with Node" "install npm for this Node"
}

# install_missing PACKAGE…: asks dpkg first, so a second run does not touch apt.
install_missing() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}" "this machine has no apt-get" "install them by hand, then run this again"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local log
  log=$(mktemp)
  if ! { apt-get update -q && apt-get install -yq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    fail "apt-get could not install ${missing[*]}" "its last lines are above, all of them in $log" "apt-get update && apt-get install ${missing[*]}"
  fi
  rm -f "$log"
}

# node_modules is right when npm wrote it after the lockfile was last changed.
npm_packages() {
  [ node_modules/.package-lock.json -nt package-lock.json ] && return
  say "npm ci"
  npm ci --no-audit --no-fund --loglevel=error --no-update-notifier || fail "npm ci did not work" "its message is above" "check the network and npm's registry, then run this again"
}

build() {
  say "building"
  npm run --silent build || fail "the build did not work" "the compiler's messages are above" "git status; a fresh checkout builds"
}
