#!/usr/bin/env bash
# Words, variables and files into options; errors in one line with the right exit code.
. "$RETORT_SOURCE/tests/unit/scripts/start.sh"

ends 0 "$RETORT" --help
out_has "distill"
ends 0 "$RETORT" --version
ends 64 "$RETORT"
ends 64 "$RETORT" --json
line "retort: error: a command is missing; retort --help lists the commands"
ends 64 "$RETORT" trian
line "retort: error: unknown command 'trian'; did you mean 'train'?"
ends 64 "$RETORT" train --learning-rat 0.1
line "retort: error: unknown option --learning-rat; did you mean --learning-rate?"
ends 64 "$RETORT" train --learning-rate fast
line "retort: error: command line: option 'learning-rate': 'fast' is not a finite number"
ends 64 "$RETORT" train
line_has "retort: error: option 'data' is required"
ends 64 "$RETORT" doctor here
line "retort: error: the word 'here' is one too many; options begin with --"
for number in 0 -1 x 1.5 ""; do
  ends 64 "$RETORT" -n "$number" doctor
  line_has "option 'ranks'"
  ends 64 "$RETORT" doctor "--threads=$number"
  line_has "option 'threads'"
done

# Help comes whatever else is wrong, and shows the options of the model that was named.
ends 0 "$RETORT" train --nonsense --help
out_has "--learning-rate X"
ends 0 "$RETORT" train --model resnet20 -h
out_has "--width"
"$RETORT" train --help | head -1 >/dev/null
[ "${PIPESTATUS[0]}" -eq 0 ] || fail "help into a closed pipe"

# Default < file < environment < command line.
cat >some.ini <<'INI'
epochs = 3
[teach]
top-k = 7
[train]
batch = 64
learning-rate = 0.3  # a comment
INI
dump() { ends 0 "$@" --dump-config; }
shows() { grep -qxF -- "$1" out.txt || fail "$called: no line '$1'"; }
dump "$RETORT" train --model mlp
shows "learning-rate = 0.1"
dump "$RETORT" train --model mlp --config some.ini
shows "learning-rate = 0.3"
shows "batch = 64"
shows "epochs = 3"
dump env RETORT_LEARNING_RATE=0.4 "$RETORT" train --model mlp --config some.ini
shows "learning-rate = 0.4"
dump env RETORT_LEARNING_RATE=0.4 "$RETORT" train --model mlp --config some.ini --learning-rate 0.5
shows "learning-rate = 0.5"
# A worse source is not even read: its mistake does not matter.
dump env RETORT_LEARNING_RATE=fast "$RETORT" train --model mlp --learning-rate 0.5

# The model may come from any source, and its options, too.
printf 'model = mlp\nhidden = 24\n' >model.ini
dump "$RETORT" train --config model.ini
shows "hidden = 24"
dump env RETORT_MODEL=mlp "$RETORT" train --hidden 12
shows "hidden = 12"
dump env RETORT_HIDDEN=13 "$RETORT" train --model mlp
shows "hidden = 13"
ends 64 "$RETORT" train --model mlp --hiden 12
line "retort: error: unknown option --hiden; did you mean --hidden?"

# What is dumped reads back as the same, awkward values included.
dump "$RETORT" train --model mlp --out " a # b; \"c\" \\ " --learning-rate 0.30000000000000004 \
  --threads 3 --json
cp out.txt dump.ini
dump "$RETORT" train --config dump.ini
cmp -s out.txt dump.ini || fail "the dump does not read back: $(diff out.txt dump.ini)"
dump "$RETORT" smooth --model teacher --out labels
cp out.txt dump.ini
dump "$RETORT" smooth --config dump.ini
cmp -s out.txt dump.ini || fail "smooth's dump does not read back: $(diff out.txt dump.ini)"

# Mistakes in files and variables.
ends 64 "$RETORT" train --config missing.ini
line_has "missing.ini"
ends 64 "$RETORT" train --config .
line_has "--config"
printf 'learning-rat = 1\n' >wrong.ini
ends 64 "$RETORT" train --model mlp --config wrong.ini
line "retort: error: wrong.ini:1: unknown option 'learning-rat'; did you mean 'learning-rate'?"
printf '[tarin]\n' >wrong.ini
ends 64 "$RETORT" train --model mlp --config wrong.ini
line "retort: error: wrong.ini:1: section [tarin] is no command; did you mean [train]?"
printf 'steps = 1\nsteps = 2\n' >wrong.ini
ends 64 "$RETORT" train --model mlp --config wrong.ini
line "retort: error: wrong.ini:2: option 'steps' was already set at wrong.ini:1"
printf 'nonsense\n' >wrong.ini
ends 64 "$RETORT" train --model mlp --config wrong.ini
line "retort: error: wrong.ini:1: 'nonsense' is no setting; write key = value"
head -c 4096 /dev/urandom >noise.ini
ends 64 "$RETORT" train --model mlp --config noise.ini
ends 64 env RETORT_STEP=3 "$RETORT" train
line_has "environment variable RETORT_STEP is no option; did you mean RETORT_STEPS?"
ends 64 env RETORT_BATCH=x "$RETORT" train --model mlp
line "retort: error: RETORT_BATCH: option 'batch': 'x' is not a whole number of at least 0"
# Other commands' options and reserved names are left alone.
dump env RETORT_TOP_K=x RETORT_DATA=/nowhere RETORT_GOLDEN=/nowhere "$RETORT" train --model mlp
finish
