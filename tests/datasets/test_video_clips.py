import pytest
import torch
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.datasets import video_transforms
from mmsvf.registry import DATASETS

PIPELINE = [
    dict(type='DecordInit', num_threads=1),
    dict(type='mmsvf.SampleClip', clip_len=4, frame_interval=2, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture(autouse=True)
def mmaction_scope():
    init_default_scope('mmaction')


def build(folder, lines=None, pipeline=PIPELINE, **kwargs):
    ann_file = folder / 'train.txt'
    if lines is not None:
        ann_file = folder / 'list.txt'
        ann_file.write_text('\n'.join(lines))
    options = dict(ann_file=str(ann_file), data_prefix=dict(video=str(folder / 'train')), num_classes=8)
    return DATASETS.build(dict(type='VideoClipDataset', pipeline=pipeline, **{**options, **kwargs}))


def test_reads_real_video_files(digits):
    dataset = build(digits)
    assert len(dataset) == 8
    sample = dataset[3]
    assert sample['inputs'].shape == (1, 3, 4, 64, 64) and sample['inputs'].dtype == torch.uint8
    assert sample['data_samples'].gt_label.item() == 3
    assert sample['inputs'].float().std() > 10


def test_a_path_may_have_spaces(digits):
    (digits / 'train' / 'a digit.mp4').write_bytes((digits / 'train' / '00001.mp4').read_bytes())
    (sample,) = build(digits, ['a digit.mp4 1'])
    assert sample['data_samples'].gt_label.item() == 1


def test_missing_list_and_folder(digits):
    with pytest.raises(FileNotFoundError, match=r"ann_file='nowhere\.txt' does not exist.*--cfg-options"):
        build(digits, ann_file='nowhere.txt')
    with pytest.raises(FileNotFoundError, match=r"data_prefix\.video='nowhere' does not exist.*--cfg-options"):
        build(digits, data_prefix=dict(video='nowhere'))


def test_empty_list(digits):
    with pytest.raises(ValueError, match=r'list\.txt lists no video; each line is a video path and an integer label'):
        build(digits, [])


@pytest.mark.parametrize('line', ['00000.mp4 east', '00000.mp4 1 2'])
def test_malformed_line(digits, line):
    with pytest.raises(
        ValueError, match=rf"list\.txt line 2: '{line}'; each line is a video path, ' ' and an integer label"
    ):
        build(digits, ['00001.mp4 1', line])


@pytest.mark.parametrize('label', [8, -1])
def test_label_out_of_range(digits, label):
    with pytest.raises(ValueError, match=rf'list\.txt line 2: label {label} of .*00001\.mp4.* is outside 0 to 7'):
        build(digits, ['00000.mp4 0', f'00001.mp4 {label}'])


@pytest.mark.parametrize('content', [b'', b'not a video', 'truncated'])
def test_corrupt_file_is_named(digits, content):
    if content == 'truncated':
        content = (digits / 'train' / '00000.mp4').read_bytes()[:200]
    (digits / 'train' / 'broken.mp4').write_bytes(content)
    with pytest.raises(RuntimeError, match=r'broken\.mp4.* could not be read .*remove its line from .*list\.txt'):
        build(digits, ['broken.mp4 0'])[0]


def test_missing_file_is_named(digits):
    with pytest.raises(FileNotFoundError, match=r'gone\.mp4 is missing .*remove its line from .*list\.txt'):
        build(digits, ['gone.mp4 0'])[0]


def test_clip_longer_than_the_video(digits, monkeypatch):
    """10 frames: 8 frames at interval 2 span 15."""
    monkeypatch.setattr(video_transforms, '_said', set())
    longer = [dict(PIPELINE[1], clip_len=8) if i == 1 else t for i, t in enumerate(PIPELINE)]
    with pytest.warns(UserWarning, match=r'has 10 frames; a clip of clip_len=8 at frame_interval=2 spans 15.*repeat'):
        assert build(digits, pipeline=longer)[0]['inputs'].shape[2] == 8
    dataset = build(digits, [f'{i:05d}.mp4 0' for i in range(5)], pipeline=longer)
    with pytest.warns(UserWarning, match='its frames repeat') as warned:
        _ = [dataset[i] for i in (*range(5), 0)]
    assert [str(w.message).endswith('; others follow in silence') for w in warned] == [False, True], 'one was before'
    refused = [dict(t, short='error') if i == 1 else t for i, t in enumerate(longer)]
    with pytest.raises(RuntimeError, match=r'has 10 frames.*spans 15.*smaller clip_len'):
        build(digits, pipeline=refused)[0]
    with pytest.raises(ValueError, match=r"short='skip'; choose 'loop' or 'error'"):
        build(digits, pipeline=[dict(PIPELINE[1], short='skip')])
