#!/usr/bin/env bash
# pack killed at every kind of moment and started again gives the bytes of the undisturbed run; a
# full disk is exit code 74 and leaves nothing under a final name that is not whole.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fonts=(--train-fonts DejaVuSans,DejaVuSerif,FreeSans --validation-fonts "" --test-fonts FreeSerif)
pack() {  # name ranks
  local ranks=()
  if [ "$2" -gt 1 ]; then ranks=(-n "$2"); fi
  "$RETORT" "${ranks[@]}" pack --from glyphs --characters 40 --min-fonts 2 "${fonts[@]}" \
    --shard-samples 25 --out "$folder/$1" --json
}
bytes() { (cd "$folder/$1" && find . -type f ! -name config.ini ! -name lock ! -path './claims/*' \
  ! -name 'heartbeat*' ! -name '*.bad' | sort | xargs sha256sum); }
no_manifest() { [ ! -e "$folder/$1/manifest.json" ]; }

pack whole 1 > /dev/null
kills=0
for point in atomic-open atomic-write atomic-fsync atomic-rename atomic-committed; do
  for count in 1 8 17 19; do  # a first shard, a later one, config.ini, the manifest
    rm -rf "$folder/killed"
    code=0
    RETORT_FAULT_POINT=$point:$count:kill pack killed 1 > /dev/null 2>&1 || code=$?
    [ "$code" -ne 0 ] || { echo "$point:$count did not kill"; exit 1; }
    [ "$point:$count" = atomic-committed:19 ] || no_manifest killed
    pack killed $((1 + kills % 2)) > /dev/null
    diff <(bytes whole) <(bytes killed)
    kills=$((kills + 1))
  done
done
for action in ENOSPC EIO; do
  rm -rf "$folder/full"
  code=0
  RETORT_FAULT_POINT=atomic-write:9:$action pack full 1 > /dev/null 2> "$folder/error" || code=$?
  [ "$code" -eq 74 ] || { echo "$action: exit code $code"; cat "$folder/error"; exit 1; }
  [ "$(grep -c '' "$folder/error")" -eq 1 ] || { cat "$folder/error"; exit 1; }
  no_manifest full
  pack full 1 > /dev/null
  diff <(bytes whole) <(bytes full)
done
# A shard that went bad between two starts is found, set aside and made anew.
RETORT_FAULT_POINT=atomic-committed:9:kill pack bad 1 > /dev/null 2>&1 || true
shard=$(find "$folder/bad/train" -name 'shard-*.h5' | sort | head -1)
printf '\x55' | dd of="$shard" bs=1 seek=3000 conv=notrunc status=none
pack bad 1 > /dev/null 2>&1
diff <(bytes whole) <(bytes bad)
# Other options on a folder that was begun: refused.
RETORT_FAULT_POINT=atomic-committed:9:kill pack other 1 > /dev/null 2>&1 || true
code=0
"$RETORT" pack --from glyphs --characters 41 --min-fonts 2 "${fonts[@]}" --out "$folder/other" \
  2> "$folder/error" || code=$?
[ "$code" -eq 64 ] || { echo "foreign recipe: exit code $code"; cat "$folder/error"; exit 1; }
echo "$kills kills, the same bytes after each"
