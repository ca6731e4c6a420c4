#!/usr/bin/env bash
# The embedded default of human pose, step by step as a user would type it (make demo-pose).
# PROCESSES=2 trains on so many, MODALITIES=events from events alone, WORK_DIR=FOLDER is where it goes; other flags of
# tools/train.py than --work-dir are handed on.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${BIN:+$BIN/}python
DATA=data/moving_body WORK=${WORK_DIR:-work_dirs/demo_pose}
export OMP_NUM_THREADS=1 PYTHON

run() { echo "+ $*" && "$@"; }

WRITER=tools/dataset_converters/moving_body.py
# not again, unless the script is newer than what it wrote
if [ ! $DATA/.complete -nt $WRITER ]; then
    run "$PYTHON" $WRITER $DATA
    touch $DATA/.complete
fi
for MODALITY in ${MODALITIES:-frames events}; do
    CONFIG=configs/demo/svf_moving_body.py
    [ $MODALITY = frames ] || CONFIG=configs/demo/svf_moving_body_event.py
    echo "== before training, from $MODALITY"
    run "$PYTHON" tools/analysis/pose_baselines.py $CONFIG
    # two CPU processes with one thread each; dist_train.sh starts tools/train.py
    run bash tools/dist_train.sh $CONFIG "${PROCESSES:-2}" --work-dir $WORK/$MODALITY "$@"
    echo "== and after"
    CHECKPOINT=$(cat $WORK/$MODALITY/last_checkpoint)
    run "$PYTHON" tools/test.py $CONFIG "$CHECKPOINT" --work-dir $WORK/$MODALITY --show-dir $WORK/$MODALITY/shown
    run "$PYTHON" tools/track_pose.py $CONFIG "$CHECKPOINT" subject01_group0_time0 --out $WORK/$MODALITY/track
done
echo "picture: $WORK/frames/track.png, videos: $WORK/{frames,events}/track.mp4"
