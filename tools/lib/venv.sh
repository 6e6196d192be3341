# shellcheck shell=bash
# Sourced after run.sh and system.sh: the project's own virtual environment, .venv in the tree.
#
# An environment is good as long as the files that define it have the hash noted in it; otherwise it is built anew, so
# that a dependency that was taken out of setup.cfg can't stay importable. One environment serves both commands: what
# ./tools/test installed includes what ./tools/demo needs.

PYTHON_MINIMUM="3.10"

# find_python: prints the path of the Python to use: $PYTHON, else python3. Dies if it is missing or too old.
find_python() {
  local python=${PYTHON:-python3} version
  command -v "$python" >/dev/null 2>&1 ||
    die "No $python found. Install Python $PYTHON_MINIMUM or newer:" \
      "  sudo apt-get install ${BASE_PACKAGES[*]}" \
      "or name one: PYTHON=/path/to/python3.12 $0"
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
    die "$python does not run. Name another Python: PYTHON=/path/to/python3.12 $0"
  "$python" -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$PYTHON_MINIMUM'.split('.'))))" ||
    die "$python is Python $version; zmqagents needs $PYTHON_MINIMUM or newer." \
      "Name a newer one: PYTHON=/path/to/python3.12 $0"
  command -v "$python"
}

has_venv_module() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# provide_python: installs python3 and its venv module where Debian left them out and this user may.
provide_python() {
  if [[ -n ${PYTHON:-} ]] || ! can_install; then
    return 0
  fi
  if ! have python3 || ! has_venv_module python3; then
    install_packages "${BASE_PACKAGES[@]}"
  fi
}

# definition_hash PYTHON: what the environment is made of.
definition_hash() {
  local files=(setup.cfg pyproject.toml zmqagents/_version.py)
  (cd "$ROOT" && { "$1" -VV; say "$1 $ROOT"; cat "${files[@]}"; } | sha256sum | cut -d ' ' -f 1)
}

# venv_has EXTRA HASH: whether .venv is good and has what EXTRA ("" or "test") names.
venv_has() {
  local stamp
  "$VENV/bin/python" -c '' >/dev/null 2>&1 || return 1
  for stamp in "$VENV/.installed-$1" "$VENV/.installed-test"; do
    [[ ! -f $stamp || $(<"$stamp") != "$2" ]] || return 0
  done
  return 1
}

# build_venv PYTHON EXTRA HASH: makes or completes .venv. Its stamp is written last, so a broken build is built again.
build_venv() {
  local python=$1 extra=$2 hash=$3
  if ! venv_has "" "$hash"; then
    rm -rf -- "$VENV"
    run_quietly "$python" -m venv "$VENV" || return
  fi
  run_quietly "$VENV/bin/python" -m pip install --quiet --editable "$ROOT${extra:+[$extra]}" || return
  say "$hash" >"$VENV/.installed-$extra"
}

# ensure_venv EXTRA: leaves a good environment in $VENV; dies with what to do if it can't.
ensure_venv() {
  local extra=$1 python hash
  provide_python || die "apt-get could not install ${BASE_PACKAGES[*]}; its output is above."
  python=$(find_python) || exit
  has_venv_module "$python" ||
    die "$python comes without its venv module. Install it:" "  sudo apt-get install ${BASE_PACKAGES[1]}" "and start $0 again."
  hash=$(definition_hash "$python")
  # Two commands started at once must not build one environment twice; the lock is on the tree's own folder.
  exec 9<"$ROOT"
  if have flock && ! flock --nonblock 9; then
    say "waiting for another command that sets up $VENV"
    run_job flock 9 || say "can't lock $ROOT (a network file system?); going on without"
  fi
  if ! venv_has "$extra" "$hash"; then
    build_venv "$python" "$extra" "$hash" || die "The environment in $VENV could not be made; what failed is above."
  fi
  exec 9<&-
}
