#!/usr/bin/env bash
# A start that lives on after another one took the run over: held at some place, let go when the newer one
# is done. It says so with 64 and changes nothing, wherever it was.
. "$(dirname "$0")/tiny_plan.sh"
run 0 run tiny.ini --out whole
run 0 run tiny.ini --out five --set teacher.seed=5
five=$(digest five)

# Every file of a run folder with its content, apart from what no result depends on.
content() { (cd "$1" && find . -type f ! -name '*.tmp' ! -name 'lock*' ! -path './.old/*' -exec sha256sum {} + | sort -k 2); }

# orphan PLACE: a start of r held there, a newer one with another seed, the first one let go on.
orphan() {
  RETORT_FAULT_POINT="$1:hold" "$RETORT" run tiny.ini --out r >held.out 2>held.err &
  local held=$!
  until_held $held "$1"
  run 0 run tiny.ini --out r --take-over --set teacher.seed=5
  [ "$(digest r)" = "$five" ] || fail "$1: the newer start has another result"
  content r >before
  kill -CONT $held
  wait $held
  [ $? = 64 ] || fail "$1: the older start did not end with 64: $(cat held.err)"
  grep -q 'was taken over by start 2, this is start 1' held.err || fail "$1: $(cat held.err)"
  content r >after
  diff before after || fail "$1: the older start changed something"
  run 0 check r
  run 0 resume r
  ! grep -q 'run again' out || fail "$1: something was made again"
}
places=(
  '*@.plan/sections/teacher:5' '*@data/manifest:2' '*@teacher/model:11' '*@teacher/results:2' '*@logits/manifest:2'
  'commit/*@student/results:1' 'checkpoint-manifest:3' '*@score/details:2' '*@score/manifest:3'
  'atomic-rename@.plan/sections/score.json:2'
)
for place in "${places[@]}"; do
  rm -rf r
  orphan "$place"
done
# The same of a section alone that ran before, which the orphan would write again byte for byte.
rm -rf r
cp -r whole r
rm -r r/score
export SLURM_JOB_ID=7
SLURM_RESTART_COUNT=0 RETORT_FAULT_POINT='*@score/details:2:hold' "$RETORT" resume r --here --section score \
  >held.out 2>held.err &
held=$!
until_held $held "the older start of a job"
SLURM_RESTART_COUNT=1 run 0 resume r --here --section score
unset SLURM_JOB_ID
content r >before
find r/score r/.plan -type f ! -name '*.tmp' -printf '%i %p\n' | sort >inodes
kill -CONT $held
wait $held
[ $? = 64 ] || fail "the older start of a job: $(cat held.err)"
content r >after
diff before after || fail "the older start of a job changed something"
find r/score r/.plan -type f ! -name '*.tmp' -printf '%i %p\n' | sort | diff inodes - || fail "the older start of a job wrote files again"

# `clean`, held as it looks at generations, while a newer start makes some of the same names.
cat >hold.c <<'C'
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
static void hold(const char* path) {
  static int held;
  if (strstr(path, "/teacher/checkpoints") != NULL && !held++) raise(SIGSTOP);
}
DIR* opendir(const char* path) {
  hold(path);
  return ((DIR * (*)(const char*)) dlsym(RTLD_NEXT, "opendir"))(path);
}
int openat(int at, const char* path, int flags, ...) {
  hold(path);
  return ((int (*)(int, const char*, int, ...))dlsym(RTLD_NEXT, "openat"))(at, path, flags, 0666);
}
C
cc -shared -fPIC -o hold.so hold.c -ldl || fail "cannot build hold.so"
from whole
generations() { find r/*/checkpoints -name manifest.json | sort; }
LD_PRELOAD=$PWD/hold.so "$RETORT" clean r --keep 0 >held.out 2>held.err &
held=$!
until_held $held clean
run 0 run tiny.ini --out r --take-over --set teacher.seed=5
generations >before
kill -CONT $held
wait $held
[ $? = 64 ] || fail "the older clean did not end with 64: $(cat held.err)"
generations | diff before - || fail "the older clean removed generations of the newer start"
