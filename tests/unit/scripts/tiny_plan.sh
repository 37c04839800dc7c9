# Sourced by tests of plans: beside plans.sh, 4 classes of small pictures and a plan of five sections
# that runs in seconds.
. "$(dirname "${BASH_SOURCE[0]}")/plans.sh"

# picture CLASS NUMBER SHIFT: 8x8 grey, a pattern per class with noise.
picture() {
  awk -v c="$1" -v n="$2" -v s="${3:-0}" 'BEGIN {
    printf "P2\n8 8\n255\n"; r = 7919 * (c * 31 + n) + s
    for (y = 0; y < 8; ++y) for (x = 0; x < 8; ++x) {
      r = (r * 1103 + 12345) % 65536
      printf "%d ", ((x * (1 + c % 2) + y * (1 + int(c / 2))) % 8) * 24 + r % 60 }
    printf "\n" }'
}
for class in 0 1 2 3; do
  mkdir -p "pictures/class-$class"
  for number in 0 1 2 3 4 5 6 7 8 9; do
    picture $class $number >"pictures/class-$class/$number.pgm"
  done
done

cat >tiny.ini <<'PLAN'
[plan]
threads = 1

[data]
stage = pack
from = folder
source = pictures
split = train=rest,test=2

[teacher]
stage = train
data = @data
model = mlp
hidden = 24
epochs = 4
batch = 16
micro-shards = 4
learning-rate = 0.05
checkpoint-every = 2

[logits]
stage = teach
data = @data
model = @teacher
top-k = 2
shard-samples = 8

[student]
stage = distill
data = @data
logits = @logits
model = mlp
hidden = 8
epochs = 3
batch = 16
micro-shards = 4
temperature = 2
checkpoint-every = 2

[score]
stage = evaluate
data = @data
model = @student
PLAN
# killed FOLDER OPTIONS...: two starts of tiny.ini, each of which ends after a generation of the teacher.
killed() {
  local folder=$1 commit
  shift
  for commit in 3 2; do
    RETORT_FAULT_POINT=checkpoint-manifest:$commit:kill "$RETORT" run tiny.ini --out "$folder" "$@" \
      >out 2>err
    [ $? = 137 ] || fail "not killed"
  done
}
# from FOLDER: r is a copy of it.
from() {
  rm -rf r
  cp -r "$1" r
}
# gives DIGEST STORY: r has this result, and every byte of it is right.
gives() {
  [ "$(digest r)" = "$1" ] || fail "$2: another result"
  run 0 check r
}
