# Sourced by script tests that stop at the first failure: a work folder, $work, that goes away, and
#   quietly ARGUMENTS...                  runs the program, which must succeed
#   refuse CODE TEXT COMMAND [ARGS...]    must end with CODE, one line on standard error that holds
#                                         TEXT, and no result or half-written file below `refused`
# A COMMAND is `retort` or any other program; $cases counts what was refused.
set -euo pipefail
: "${RETORT:?}"
work=$(mktemp -d)
leave() { rm -rf "$work"; }  # a test may define its own
trap 'leave' EXIT
cd "$work"
cases=0

retort() { "$RETORT" "$@"; }
fail() {
  echo "FAILED: $*"
  cat out err 2>/dev/null || true
  exit 1
}
quietly() { retort "$@" --log-level error >/dev/null; }
refuse() {
  local code=$1 text=$2 got=0
  shift 2
  rm -rf refused
  "$@" --log-level error >out 2>err || got=$?
  [ "$got" = "$code" ] || fail "exit code $got instead of $code: $*"
  [ "$(wc -l <err)" = 1 ] || fail "not one line: $*"
  grep -qF -- "$text" err || fail "no '$text': $*"
  [ -z "$(find refused -name manifest.json -not -path '*/checkpoints/*' 2>/dev/null)" ] ||
    fail "a result was written: $*"
  [ -z "$(find refused -name '*.tmp' 2>/dev/null)" ] || fail "a half-written file was left: $*"
  cases=$((cases + 1))
}
