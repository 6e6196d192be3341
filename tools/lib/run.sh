# shellcheck shell=bash
# Sourced by the scripts in tools/ and .ci/: messages, the caller's environment, jobs that a signal ends.

say() { printf '%s\n' "$*"; }

# die MESSAGE...: one line per argument on stderr, then exit 1.
die() {
  printf '%s\n' "$@" >&2
  exit 1
}

# Forget what the caller's shell has set that would change what is installed, imported or run: what stays is how to
# reach a package index (a proxy, a mirror, a certificate) and what the scripts document.
clean_environment() {
  local name
  while IFS= read -r name; do
    case $name in
      PIP_INDEX_URL | PIP_EXTRA_INDEX_URL | PIP_FIND_LINKS | PIP_NO_INDEX | PIP_TRUSTED_HOST | PIP_PROXY) ;;
      PIP_CERT | PIP_CLIENT_CERT | PIP_CONFIG_FILE | PIP_KEYRING_PROVIDER) ;;
      PIP_DEFAULT_TIMEOUT | PIP_TIMEOUT | PIP_RETRIES | PIP_CACHE_DIR | PIP_NO_CACHE_DIR) ;;
      PYTHONUNBUFFERED | PYTHONDONTWRITEBYTECODE | PYTHONASYNCIODEBUG | PYTHONFAULTHANDLER) ;;
      ZMQAGENTS_REQUIRE_ALL) ;;
      PIP_* | PYTHON?* | PYTEST_* | MYPY* | RUFF_* | ZMQAGENTS_* | BROKER_URL | INSTANCE_ID) unset "$name" ;;
      VIRTUAL_ENV | VIRTUAL_ENV_PROMPT | CONDA_PREFIX) unset "$name" ;;
    esac
  done < <(compgen -e)
  # A "user = true" in the caller's pip.conf fails in a virtual environment.
  export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
}

JOB_PID=""
INTERRUPTED="" # exit status of the signal that came, empty while none did

# A first signal asks the running job and its children to end as Ctrl-C does, a second one kills them.
_on_signal() {
  local signal=INT
  [[ -z $INTERRUPTED ]] || signal=KILL
  INTERRUPTED=$1
  [[ -z $JOB_PID ]] || kill -s "$signal" -- "-$JOB_PID" 2>/dev/null || true
}

# From here on SIGINT and SIGTERM end the running job, whether they came to the whole group or to this script alone.
handle_signals() {
  trap '_on_signal 130' INT
  trap '_on_signal 143' TERM
}

# _end_group ID: returns when the process group has no process left: those that outlive its first one, which was asked
# to end like all of them, get two seconds and are killed then.
_end_group() {
  for _ in {1..20}; do
    kill -0 -- "-$1" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -s KILL -- "-$1" 2>/dev/null || true
}

# run_job COMMAND...: runs it in a process group of its own, with nothing to read, and returns its status. Exits when a
# signal came meanwhile, once the command has ended. (Bash runs a trap only after the command in the foreground has
# ended, hence the background; there Python would find SIGINT ignored, hence job control. Of a signal that comes in the
# instant in which bash begins to wait it takes note only when the next one comes: bash 5.2, once in 3,000 tries.)
run_job() {
  local status=0
  [[ -z $INTERRUPTED ]] || exit "$INTERRUPTED"
  set -m
  "$@" </dev/null &
  JOB_PID=$!
  set +m
  # A signal between the line that started the job and the one that noted its id found no job to end.
  [[ -z $INTERRUPTED ]] || kill -s INT -- "-$JOB_PID" 2>/dev/null || true
  while :; do
    status=0
    wait "$JOB_PID" || status=$?
    kill -0 "$JOB_PID" 2>/dev/null || break
  done
  if [[ -n $INTERRUPTED ]]; then
    _end_group "$JOB_PID"
    exit "$INTERRUPTED"
  fi
  JOB_PID=""
  return "$status"
}

# run_quietly COMMAND...: run_job whose output is shown on stderr, and only if it fails.
run_quietly() {
  local output status=0
  output=$(mktemp)
  # shellcheck disable=SC2064  # the name is wanted as it is now
  trap "rm -f -- '$output'" EXIT
  run_job "$@" >"$output" 2>&1 || status=$?
  if ((status != 0)); then
    {
      say "failed (exit $status): $*"
      cat "$output"
    } >&2
  fi
  rm -f -- "$output"
  trap - EXIT
  return "$status"
}
