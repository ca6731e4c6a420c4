#!/usr/bin/env bash
# The delayed match to sample, step by step as a user would type it (make demo-match).
# Flags of tools/train.py other than --work-dir are handed on.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${BIN:+$BIN/}python
DATA=data/delayed_match CONFIG=configs/demo/svf_delayed_match WORK=work_dirs/svf_delayed_match

run() { echo "+ $*" && "$@"; }

WRITER=tools/dataset_converters/delayed_match.py
# not again, unless the script is newer than what it wrote
[ $DATA/val_cue.txt -nt $WRITER ] || run "$PYTHON" $WRITER $DATA
run "$PYTHON" tools/analysis/match_baselines.py $DATA
# the colour of the cue, then cue and candidates without a delay, then the task; each starts from the one before
for step in _cue _pairs ''; do
    run "$PYTHON" tools/train.py $CONFIG$step.py "$@"
done
run "$PYTHON" tools/test.py $CONFIG.py "$(cat $WORK/last_checkpoint)" --work-dir $WORK --dump $WORK/predictions.pkl
run "$PYTHON" tools/visualizations/show_clips.py $WORK/predictions.pkl $DATA/val.txt $DATA/val \
    --classes $DATA/classes.txt --out $WORK/predictions.png
