#!/usr/bin/env bash
# What users get wrong: the exit code, one line that names it, and no finished folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cases=0
fails() {  # exit code, pattern, options...
  local code=$1 pattern=$2 got=0
  shift 2
  rm -rf "$folder/out"
  "$RETORT" pack --out "$folder/out" "$@" > "$folder/stdout" 2> "$folder/stderr" || got=$?
  if [ "$got" -ne "$code" ] || ! grep -q -- "$pattern" "$folder/stderr" ||
      [ "$(grep -c '' "$folder/stderr")" -ne 1 ] || [ -s "$folder/stdout" ]; then
    echo "retort pack $*: exit code $got, wanted $code and '$pattern' in one line of:"
    cat "$folder/stderr" "$folder/stdout"
    exit 1
  fi
  [ ! -e "$folder/out/manifest.json" ]
  cases=$((cases + 1))
}
picture() { mkdir -p "$(dirname "$folder/$1")"; printf 'P5 2 2 255 %s' "${2:-abcd}" > "$folder/$1"; }

for i in 1 2 3 4 5 6; do picture "set/a/$i.pgm"; picture "set/b/$i.pgm"; done
source=(--from folder --source "$folder/set")
fails 64 'needs --source' --from folder
fails 64 'there is no such file or folder' --from folder --source "$folder/none"
fails 64 'there is no such file or folder' --from idx --source "$folder/none"
fails 64 'not a folder' --from folder --source "$0"
fails 64 'from' --from webcam --source "$folder/set"
fails 64 'split' "${source[@]}" --split train=0.5,test=0.6
fails 64 'rest' "${source[@]}" --split train=5,test=1
fails 64 'validation' "${source[@]}" --validation 1.5
fails 64 'channels' "${source[@]}" --channels 2
fails 64 'size' "${source[@]}" --size 0x5
fails 64 'size' "${source[@]}" --size 32x
fails 64 'crop' "${source[@]}" --store encoded --fit crop
fails 64 'class-from' "${source[@]}" --class-from leaf
fails 64 "option 'characters' belongs to from glyphs, but from is folder" \
  "${source[@]}" --characters 5
fails 64 "'class-from' belongs to from folder, but from is idx" \
  --from idx --source "$folder/set" --class-from 2
fails 65 'split validation is empty' "${source[@]}" --split train=0.99,validation=0.01
mkdir "$folder/empty"
fails 65 'no picture found' --from folder --source "$folder/empty"
fails 65 'no IDX files' --from idx --source "$folder/empty"
fails 65 'install the Debian packages' --from glyphs --source "$folder/empty"
mkdir "$folder/set/c"
fails 65 'class folder c holds no picture' "${source[@]}"
picture set/c/1.pgm abc
fails 65 'c/1.pgm: broken PNM' "${source[@]}"
fails 65 'strict' "${source[@]}" --strict
fails 65 'class c has no sound picture' "${source[@]}" --bad-limit 1
picture set/c/2.pgm
fails 65 '1 of 14 pictures are broken, more than 0' "${source[@]}"
# The same from a file and from the environment; what --dump-config prints can be read back.
printf 'characters = 5\n' > "$folder/pack.ini"
fails 64 "pack.ini:1: option 'characters' belongs to" "${source[@]}" --config "$folder/pack.ini"
RETORT_VARIANTS=2 fails 64 "RETORT_VARIANTS: option 'variants' belongs to" "${source[@]}"
"$RETORT" pack "${source[@]}" --out "$folder/out" --dump-config > "$folder/dumped.ini"
"$RETORT" pack --config "$folder/dumped.ini" --dump-config | cmp "$folder/dumped.ini" -
touch "$folder/file"
rm -rf "$folder/out"
code=0
"$RETORT" pack --out "$folder/file/out" "${source[@]}" --bad-limit 1 2> "$folder/stderr" || code=$?
[ "$code" -eq 74 ] || { echo "out below a file: exit code $code"; cat "$folder/stderr"; exit 1; }

# One broken picture of fourteen, allowed: named, counted, left out.
"$RETORT" pack --out "$folder/out" "${source[@]}" --bad-limit 0.1 > "$folder/stdout"
grep -q '1 broken pictures were left out' "$folder/stdout"
grep -q 'c/1.pgm: broken PNM' "$folder/stdout"
grep -Eq '^train +13 +3 ' "$folder/stdout"
# The folder is taken: other options are refused, the same ones are done at once.
code=0
"$RETORT" pack --out "$folder/out" "${source[@]}" --bad-limit 0.2 2> "$folder/stderr" || code=$?
[ "$code" -eq 64 ] || { echo "taken folder: exit code $code"; cat "$folder/stderr"; exit 1; }
"$RETORT" pack --out "$folder/out" "${source[@]}" --bad-limit 0.1 2> /dev/null > "$folder/again"
cmp "$folder/stdout" "$folder/again"
# A picture that changed in place, of the same size, is seen, in a finished folder and in one that
# a kill left half done.
picture set/a/1.pgm efgh
code=0
"$RETORT" pack --out "$folder/out" "${source[@]}" --bad-limit 0.1 2> "$folder/stderr" || code=$?
[ "$code" -eq 64 ] && grep -q 'files have changed since' "$folder/stderr" &&
  [ "$(grep -c '' "$folder/stderr")" -eq 1 ] || { echo "in place: $code"; cat "$folder/stderr"; exit 1; }
rm "$folder/out/manifest.json"
code=0
"$RETORT" pack --out "$folder/out" "${source[@]}" --bad-limit 0.1 2> "$folder/stderr" || code=$?
[ "$code" -eq 64 ] && grep -q 'files have changed since' "$folder/stderr" &&
  [ ! -e "$folder/out/manifest.json" ] || { echo "half done: $code"; cat "$folder/stderr"; exit 1; }

# A start that ended with an error: what its line advises works on the next start, and the folder is
# then what a fresh one would be. Foreign files in it stay.
says() {  # exit code, pattern, options...
  local code=$1 pattern=$2 got=0
  shift 2
  "$RETORT" pack "${source[@]}" --shard-samples 4 --out "$folder/next" "$@" > "$folder/stdout" \
    2> "$folder/stderr" || got=$?
  [ "$got" -eq "$code" ] && grep -q -- "$pattern" "$folder/stdout" "$folder/stderr" || {
    echo "pack after an error, $*: exit code $got, wanted $code and '$pattern'"
    cat "$folder/stderr" "$folder/stdout"
    exit 1
  }
}
fresh() {  # options...
  rm -rf "$folder/fresh"
  "$RETORT" pack "${source[@]}" --shard-samples 4 --out "$folder/fresh" "$@" > /dev/null 2>&1
  diff -r -x claims -x lock -x config.ini -x results.json -x mine.txt "$folder/fresh" "$folder/next"
}
says 65 'broken, more than 0' --split train=rest,test=1
says 65 'broken, more than 0' --split train=rest,test=1
ls "$folder"/next/train/*.h5 > /dev/null
echo mine > "$folder/next/mine.txt"
says 0 'packed anew' --bad-limit 1
fresh --bad-limit 1
[ "$(cat "$folder/next/mine.txt")" = mine ]
rm -rf "$folder/next"
says 65 'broken, more than 0'
sleep 0.01
picture set/c/1.pgm
says 0 'packed anew'
fresh
rm -rf "$folder/next"
picture set/c/1.pgm abc
says 65 'broken, more than 0'
rm "$folder/set/c/1.pgm"
says 0 'packed anew'
fresh
# A finished folder that lost a shard is no such start, whatever fails while it is mended.
printf '' > "$folder/next/train/shard-000000.h5"
picture set/a/1.pgm ab
rm "$folder/next/manifest.json"
says 64 'have changed since'
[ -s "$folder/next/train/shard-000001.h5" ] && [ ! -e "$folder/next/failed.json" ]
picture set/a/1.pgm
# A start that was killed is kept for the same command; others are refused like those of a finished
# folder.
rm -rf "$folder/next"
RETORT_FAULT_POINT=atomic-rename:9:kill "$RETORT" pack "${source[@]}" --shard-samples 4 \
  --out "$folder/next" > /dev/null 2>&1 || true
ls "$folder"/next/members/train/*.json > /dev/null
says 64 'unfinished result made with other options' --seed 2 --split train=rest,test=1
says 0 'members are there already'
echo "$cases wrong calls, each with one line and its exit code"
