# shellcheck shell=bash
# Sourced after run.sh: the Debian packages that the project's scripts and tests need, and their installation.

# What ./tools/demo and ./tools/test need to start at all.
# shellcheck disable=SC2034 # read by the scripts that source this
BASE_PACKAGES=(python3 python3-venv)

# What some tests need besides; without them those tests are skipped, and fail under ZMQAGENTS_REQUIRE_ALL=1.
# shellcheck disable=SC2034 # read by .ci/run
TEST_PACKAGES=(iproute2 nats-server nftables shellcheck)

have() { command -v "$1" >/dev/null 2>&1; }

# can_install: whether this user may install Debian packages here.
can_install() { ((EUID == 0)) && have apt-get; }

# missing_packages NAME...: prints those that dpkg doesn't have, one a line.
missing_packages() {
  local name
  for name in "$@"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || say "$name"
  done
}

# install_packages NAME...: installs what is missing of them; asks apt nothing when all are there.
install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]} with apt-get"
  export DEBIAN_FRONTEND=noninteractive
  run_quietly apt-get update || return
  run_quietly apt-get install --yes --no-install-recommends "${missing[@]}"
}
