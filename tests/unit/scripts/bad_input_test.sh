#!/usr/bin/env bash
# Files that are damaged or cut, folders that can't be written, ranks that meet a loss that is no
# number: one line, the right exit code, nothing half-written under a final name.
. "$(dirname "$0")/strict.sh"
. "$(dirname "$0")/damage.sh"

# damaged FILE TEXT ARGUMENTS...: FILE with a bit flipped in the middle, cut to two thirds, empty.
damaged() {
  local file=$1 text=$2 size
  shift 2
  size=$(stat -c %s "$file")
  cp "$file" kept
  flip "$file" $((size / 2))
  refuse 65 "$text" retort "$@" --out refused
  for length in $((size * 2 / 3)) 0; do
    head -c $length kept >"$file"
    refuse 65 "$text" retort "$@" --out refused
  done
  cp kept "$file"
}

# Sources of pack: a gzip IDX pair of 2 pictures of 3 x 3 pixels; pictures that end after a header.
mkdir idx
printf '\0\0\10\3\0\0\0\2\0\0\0\3\0\0\0\3abcdefghijklmnopqr' | gzip -n >idx/train-images-idx3-ubyte.gz
printf '\0\0\10\1\0\0\0\2\0\1' | gzip -n >idx/train-labels-idx1-ubyte.gz
quietly pack --from idx --source idx --out from-idx
refuse 74 "File name too long" retort pack --from idx --source idx --out "$(printf %0300d 0)"
for file in idx/train-images-idx3-ubyte.gz idx/train-labels-idx1-ubyte.gz; do
  damaged $file "$(basename $file)" pack --from idx --source idx
done
for picture in '\377\330\377\340\0\20JFIF\0' '\211PNG\r\n\032\n' 'P5 9 9 255 x' ''; do
  rm -rf pictures
  mkdir -p pictures/a pictures/b
  printf 'P5 2 2 255 abcd' | tee pictures/a/1.pgm >pictures/b/1.pgm
  for kind in jpg png pgm; do
    # shellcheck disable=SC2059
    printf "$picture" >"pictures/b/2.$kind"
    refuse 65 "b/2.$kind" retort pack --from folder --source pictures --size 2 --channels 1 \
      --strict --out refused
    rm "pictures/b/2.$kind"
  done
done

quietly pack --from glyphs --characters 20 --out data
train=(train --data data --model mlp --hidden 16 --batch 64 --learning-rate 0.01)
quietly "${train[@]}" --steps 4 --out teacher
teach=(teach --data data --model teacher --top-k 5)
quietly "${teach[@]}" --out logits
distill=(distill --data data --logits logits --model mlp --hidden 8 --batch 64 --steps 6)
damaged data/manifest.json data/manifest.json "${train[@]}" --steps 4
damaged data/classes.h5 data/classes.h5 "${train[@]}" --steps 4
damaged data/train/shard-000000.h5 shard-000000.h5 "${train[@]}" --steps 6
damaged logits/manifest.json logits/manifest.json "${distill[@]}"
damaged logits/pass-00/shard-000000.h5 shard-000000.h5 "${distill[@]}"
for file in manifest.json model.h5 model.json; do
  damaged teacher/model/$file $file "${teach[@]}"
  damaged teacher/model/$file $file evaluate --data data --model teacher
  damaged teacher/model/$file $file "${train[@]}" --steps 4 --init teacher
done
# A wrong file of options names its line.
printf 'hidden = 16\n\377\376 \001\n' >wrong.ini
refuse 64 "wrong.ini:2" retort "${train[@]}" --config wrong.ini --out refused

# Checkpoints: with every generation damaged there is no silent fresh start.
"$RETORT" "${train[@]}" --steps 100000 --evaluate-every 100000 --checkpoint-every 20 --out run \
  --log-level error >/dev/null 2>&1 &
first=$!
for _ in $(seq 600); do
  if [ "$(find run/checkpoints -name manifest.json 2>/dev/null | wc -l)" -ge 2 ]; then break; fi
  sleep 0.1
done
kill -KILL $first
wait $first 2>/dev/null || true
find run/checkpoints -name '*.h5' >parts
[ -s parts ] || fail "no checkpoint was written"
while read -r part; do flip "$part" $(($(stat -c %s "$part") / 2)); done <parts
refuse 65 "generation" retort "${train[@]}" --steps 100000 --evaluate-every 100000 \
  --checkpoint-every 20 --out run --take-over
[ ! -e run/manifest.json ] || fail "a run without a sound generation is complete"

# Folders that can't be written: below a file, and on a file system that is read-only.
touch file
commands=("pack --from glyphs --characters 20" "${train[*]} --steps 4" "${teach[*]}" "${distill[*]}"
  "evaluate --data data --model teacher")
for command in "${commands[@]}"; do
  read -r -a words <<<"$command"
  refuse 74 "check the path or choose another" retort "${words[@]}" --out file/out
done
mkdir fixed
if unshare -m mount -t tmpfs -o ro none fixed 2>/dev/null; then
  for command in "${commands[@]}"; do
    read -r -a words <<<"$command"
    refuse 74 "Read-only file system; check the permissions" unshare -m bash -c \
      'mount -t tmpfs -o ro none fixed && exec "$@"' - "$RETORT" "${words[@]}" --out fixed/out
  done
elif [ "$(id -u)" != 0 ]; then
  chmod a-w fixed
  for command in "${commands[@]}"; do
    read -r -a words <<<"$command"
    refuse 74 "check the permissions" retort "${words[@]}" --out fixed/out
  done
else
  echo "not tested here: a folder without write permission (root, and mount is not allowed)"
fi

# Bytes that are no text: two paths would become one. A limit of the file size is an error, not a signal.
refuse 64 "'from-\xff' on the command line is not UTF-8" retort pack --from idx --source idx --out $'from-\xff'
small_files() { (
  ulimit -f 1
  retort "$@"
); }
refuse 74 "File too large" small_files pack --from idx --source idx --out refused

# The number of ranks, and a loss that is no number on several of them.
for ranks in 0 -1; do
  refuse 64 "'ranks'" retort -n $ranks "${train[@]}" --steps 4 --out refused
done
refuse 64 "-n 100000: this machine has" retort -n 100000 "${train[@]}" --steps 4 --out refused
refuse 65 "on rank" retort -n 2 train --data data --model mlp --hidden 16 --batch 64 --steps 30 \
  --micro-shards 4 --learning-rate 1e25 --out refused
grep -qE "step [0-9]+ on rank [01], samples [0-9]+(,[0-9]+)*:" err || fail "step, rank and samples"
echo "$cases wrong inputs, each with one line and its exit code"
