#!/usr/bin/env bash
# docs/slurm.md, word for word: every block of commands, in order, each of which must succeed.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
fc-list | grep -q . || { echo "no fonts are installed"; exit 77; }
mkdir -p bin
ln -s "$RETORT" bin/retort
ln -s "$RETORT_SOURCE/examples" "$RETORT_SOURCE/slurm" .
awk '/^```sh$/ {inside = 1; next} /^```/ {inside = 0} inside' "$RETORT_SOURCE/docs/slurm.md" >guide.sh
[ "$(wc -l <guide.sh)" -ge 15 ] || fail "the guide has no commands"
cluster_up
PATH=$work/bin:$PATH timeout 150 bash -ex guide.sh >out 2>err || { cp runs/*/.slurm/*.log .; tell_job; fail "the guide"; }
says '#SBATCH --signal=USR2@120'
says 'PENDING (Dependency)'
warns 'retort submit examples/glyphs-small.ini'
for section in teacher/seed-2 student/seed-2 student-test/seed-2; do
  [ -e "runs/glyphs-small/$section/manifest.json" ] || fail "$section is not done"
done
[ "$(digest runs/one/student-test)" = "$(digest runs/mine/student-test)" ] || fail "one job and an allocation differ"
[ -e runs/glyphs-small/report.html ] || fail "no report"
