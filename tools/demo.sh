#!/usr/bin/env bash
# The embedded default, step by step as a user would type it (make demo).
# PROCESSES=2 trains on so many, WORK_DIR=FOLDER is where it goes; flags of tools/train.py are handed on, but --work-dir.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${BIN:+$BIN/}python
DATA=data/moving_digits WORK=${WORK_DIR:-work_dirs/demo} CONFIG=configs/demo/svf_moving_digits.py

run() { echo "+ $*" && "$@"; }

WRITER=tools/dataset_converters/moving_digits.py
# not again, unless the script is newer than what it wrote
[ $DATA/val.txt -nt $WRITER ] || run "$PYTHON" $WRITER $DATA
# two CPU processes with one thread each; dist_train.sh starts tools/train.py
PYTHON=$PYTHON OMP_NUM_THREADS=1 run bash tools/dist_train.sh $CONFIG "${PROCESSES:-2}" --work-dir $WORK "$@"
run "$PYTHON" tools/test.py $CONFIG "$(cat $WORK/last_checkpoint)" --work-dir $WORK --dump $WORK/predictions.pkl
run "$PYTHON" tools/visualizations/show_clips.py $WORK/predictions.pkl $DATA/val.txt $DATA/val \
    --classes $DATA/classes.txt --out $WORK/predictions.png
