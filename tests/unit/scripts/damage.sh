# Sourced by tests that damage files.
# flip FILE [OFFSET]: another bit in one byte, by default in the middle.
flip() {
  local offset=${2:-$(($(stat -c %s "$1") / 2))} byte
  byte=$(od -An -tu1 -j "$offset" -N 1 "$1" | tr -d ' ')
  printf "$(printf '\\x%02x' $((byte ^ 16)))" | dd of="$1" bs=1 seek="$offset" conv=notrunc status=none
}
