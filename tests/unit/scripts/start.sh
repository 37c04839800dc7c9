# Sourced by tests of the command line: `ends CODE WORDS...` runs the program; `with NAME=value` before
# it sets variables; error and output lie in $err and $out.
set -u
: "${RETORT:?}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset RETORT_DATA
failures=0

fail() {
  echo "FAILED: $*"
  echo "  out: $out"
  echo "  err: $err"
  failures=$((failures + 1))
}
called=""
ends() {
  local want=$1 got
  shift
  called="$*"
  "$@" >out.txt 2>err.txt
  got=$?
  out=$(cat out.txt)
  err=$(cat err.txt)
  [ $got -eq "$want" ] || fail "$called: exit code $got instead of $want"
}
# The one line of standard error, exactly.
line() {
  [ "$err" = "$1" ] || fail "$called: expected on standard error: $1"
}
line_has() {
  [ "$(wc -l <err.txt)" -eq 1 ] || fail "$called: not one line on standard error"
  case "$err" in *"$1"*) ;; *) fail "$called: no '$1' on standard error" ;; esac
}
out_has() {
  case "$out" in *"$1"*) ;; *) fail "$called: no '$1' on standard output" ;; esac
}
finish() {
  [ $failures -eq 0 ] || exit 1
}
