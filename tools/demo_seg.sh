#!/usr/bin/env bash
# The embedded default of video segmentation, step by step as a user would type it (make demo-seg).
# PROCESSES=2 trains on so many, WORK_DIR=FOLDER is where it goes; flags of tools/train.py are handed on, but --work-dir.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${BIN:+$BIN/}python
DATA=data/moving_scenes WORK=${WORK_DIR:-work_dirs/demo_seg}
STAGE1=configs/demo/svf_moving_scenes.py STAGE2=configs/demo/svf_moving_scenes_vss.py
export OMP_NUM_THREADS=1 PYTHON

run() { echo "+ $*" && "$@"; }

WRITER=tools/dataset_converters/moving_scenes.py
# not again, unless the script is newer than what it wrote
[ $DATA/vspw/val.txt -nt $WRITER ] || run "$PYTHON" $WRITER $DATA
# two CPU processes with one thread each; dist_train.sh starts tools/train.py
run bash tools/dist_train.sh $STAGE1 "${PROCESSES:-2}" --work-dir $WORK/stage1 "$@"
run bash tools/dist_train.sh $STAGE2 "${PROCESSES:-2}" --work-dir $WORK/stage2 "$@" \
    --cfg-options load_from="$(cat $WORK/stage1/last_checkpoint)"
echo "== the spoilt clips without the memory"
run "$PYTHON" tools/test.py $STAGE2 "$(cat $WORK/stage1/last_checkpoint)" --work-dir $WORK/without \
    --cfg-options model.memory.read=False model.train_memory_only=False
echo "== and with it"
run "$PYTHON" tools/test.py $STAGE2 "$(cat $WORK/stage2/last_checkpoint)" --work-dir $WORK/with \
    --out $WORK/masks --show-dir $WORK/shown
echo "pictures: $WORK/shown/vis_data/vis_image/*.png, video: $WORK/shown/vis_data/test_val_000.mp4"
