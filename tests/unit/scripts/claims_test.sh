#!/usr/bin/env bash
# What tells the starts of a run apart is damaged, gone or another run's: a start goes on from the
# newest generation all the same, check says what is wrong, check --repair puts it right.
. "$(dirname "$0")/tiny_plan.sh"
run 0 run tiny.ini --out whole
whole=$(digest whole)
killed begun
killed another --set teacher.seed=5
claims() { ls "$1/teacher/claims"; }
[ "$(claims begun)" = $'epoch-0001\nepoch-0002' ] || fail "not two claims: $(claims begun)"
generations=(begun/teacher/checkpoints/gen-*/manifest.json)
newest=$(basename "$(dirname "${generations[-1]}")")
step=$((10#${newest:4:10}))

damage() { # KIND PATH
  case $1 in
    flip) flip "$2" ;;
    cut) truncate -s 20 "$2" ;;
    gone) rm "$2" ;;
    another) cp "another/${2#*/}" "$2" ;;
  esac
}
goes_on() { # FOLDER STORY
  run 0 resume "$1"
  warns "resuming at step $step"
  [ "$(digest "$1")" = "$whole" ] || fail "$2: another result"
}
for kind in flip cut gone another; do
  for claims in 2 1 '1 2'; do
    rm -rf r
    cp -r begun r
    for claim in $claims; do damage $kind "r/teacher/claims/epoch-000$claim"; done
    case $kind in
      flip | cut | another)
        run 65 check r
        says "fault  r/teacher/claims/epoch-000"
        run 0 check r --repair
        says "a start goes by the claims before it"
        run 0 check r
        ;;
    esac
    goes_on r "claims $claims $kind"
    run 0 check r
    # Without the repair.
    rm -rf r
    cp -r begun r
    for claim in $claims; do damage $kind "r/teacher/claims/epoch-000$claim"; done
    goes_on r "claims $claims $kind, not repaired"
  done
done

# Options that really changed: the run's own generations are not touched.
"$RETORT" run tiny.ini --out begun --only teacher --dry-run --set teacher.seed=5 >out 2>err
run 64 train --data begun/data --model mlp --hidden 16 --steps 9 --batch 16 --micro-shards 4 --out begun/teacher
warns "options or inputs changed"
[ -e "begun/teacher/checkpoints/$newest/manifest.json" ] || fail "a generation was set aside"
