#!/usr/bin/env bash
# Ranks started here and by mpirun: one line for all, the exit code of the error.
. "$RETORT_SOURCE/tests/unit/scripts/start.sh"
mpi=(mpirun -q --oversubscribe --bind-to none --mca mpi_yield_when_idle 1)

ends 0 "$RETORT" -n 2 ping
out_has '"ranks":2'
[ -z "$err" ] || fail "noise on standard error"
ends 0 "$RETORT" ping -n 1
out_has '"ranks":1'
ends 0 "$RETORT" -n 3 ping
out_has '"ranks":3'
ends 64 "$RETORT" -n 2 ping --rounds 0
line "retort: error: option 'rounds': at least one"

# Errors that all ranks make are printed once.
for round in 1 2 3; do
  ends 64 "${mpi[@]}" -n 3 "$RETORT" ping --rounds 0
  line_has "option 'rounds': at least one"
  ends 64 "${mpi[@]}" -n 2 "$RETORT" trian
  line_has "unknown command 'trian'"
done
ends 64 "${mpi[@]}" -n 2 "$RETORT" -n 3 ping
line_has "-n 3: this process was already started as one of 2 ranks"
ends 64 "${mpi[@]}" -n 1 "$RETORT" ping --rounds 5 : -n 1 "$RETORT" ping --rounds 6
line_has "'rounds' differs between ranks: rank 0 has '5', rank 1 has '6'"
ends 64 "${mpi[@]}" -n 1 "$RETORT" train --data a --model mlp --out b : \
  -n 1 env RETORT_LEARNING_RATE=0.2 "$RETORT" train --data a --model mlp --out b
line_has "'learning-rate' differs between ranks: rank 0 has '0.1', rank 1 has '0.2'"
ends 64 "${mpi[@]}" -n 1 "$RETORT" ping : -n 1 "$RETORT" train --data a --model mlp --out b
line_has "'command' differs between ranks: rank 0 has 'ping', rank 1 has 'train'"
# One rank alone is wrong: the other, waiting for it, is ended.
ends 64 "${mpi[@]}" -n 1 "$RETORT" ping : -n 1 "$RETORT" ping --rounds x
line_has "option 'rounds': 'x' is not a whole number"

# Commands for one process: rank 0 speaks.
ends 0 "${mpi[@]}" -n 2 "$RETORT" --version
[ "$(wc -l <out.txt)" -eq 1 ] || fail "two ranks, two versions"
ends 0 "${mpi[@]}" -n 2 "$RETORT" docs --out pages
[ -f pages/doctor.md ] || fail "docs on two ranks wrote nothing"
finish
