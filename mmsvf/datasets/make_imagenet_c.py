"""Make ImageNet-C from validation images with the package imagecorruptions (ImageNet-C's own recipe)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.utils import track_parallel_progress, track_progress

from .imagenet_c import LABELS, NAMES, SEVERITIES

JPEG_QUALITY = 85  # that of the published set


def corrupt(image: np.ndarray, corruption: str, severity: int, seed: int) -> np.ndarray:
    """A corrupted copy of an RGB image (H, W, 3) uint8; the same for the same seed.

    Raises:
        ImportError: imagecorruptions is not installed.
    """
    try:
        import imagecorruptions
    except ImportError as error:
        raise ImportError(
            'making ImageNet-C needs imagecorruptions; add it with: '
            'pip install --no-deps imagecorruptions-imaug && pip install numba scikit-image'
        ) from error
    # two of the corruptions draw from generators of their own
    options = dict(seed=seed) if corruption in ('glass_blur', 'impulse_noise') else {}
    state = np.random.get_state()  # noqa: NPY002  (what the package draws from)
    np.random.seed(seed)  # noqa: NPY002
    try:
        return imagecorruptions.corrupt(image, severity=severity, corruption_name=corruption, **options)
    finally:
        np.random.set_state(state)  # noqa: NPY002


def make(task: tuple[str, str], root: Path, load: Callable[[dict], dict]) -> None:
    """Write the corruptions of one image (its path and class folder) that are not there yet."""
    source, folder = task
    name = f'{folder}/{Path(source).stem}.JPEG'
    image = None
    for corruption in NAMES:
        for severity in SEVERITIES:
            path = root / corruption / str(severity) / name
            if path.exists():
                continue
            if image is None:
                image = np.ascontiguousarray(load(dict(img_path=source))['img'][..., ::-1])
            seed = zlib.crc32(f'{corruption}/{severity}/{name}'.encode())
            result = corrupt(image, corruption, severity, seed)[..., ::-1]
            options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
            _, content = cv2.imencode('.jpg', result.astype(np.uint8), options)
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f'.{os.getpid()}.unfinished')
            unfinished.write_bytes(content.tobytes())
            os.replace(unfinished, path)


def make_imagenet_c(
    images: Sequence[dict[str, Any]], prefix: str, root: Path, load: Callable[[dict], dict], workers: int
) -> None:
    """Write ImageNet-C of some images; what is there already is kept, so an interrupted run goes on.

    Args:
        images: ``img_path`` and ``gt_label`` of each.
        prefix: Folder of the images or of their class folders.
        root: Folder to write.
        load: Pipeline from ``dict(img_path=...)`` to ``img`` (H, W, 3) BGR of the test's size.
        workers: Processes.

    Raises:
        ValueError: a folder has images of two classes.
    """
    labels: dict[str, int] = {}
    tasks = []
    for image in images:
        path, label = Path(image['img_path']), int(image['gt_label'])
        folder = f'{label:04d}' if path.parent == Path(prefix) else path.parent.name
        if labels.setdefault(folder, label) != label:
            raise ValueError(f'{path.parent} has images of classes {labels[folder]} and {label}; one class per folder')
        tasks.append((str(path), folder))
    root.mkdir(parents=True, exist_ok=True)
    (root / LABELS).write_text(''.join(f'{folder} {label}\n' for folder, label in sorted(labels.items())))
    one = partial(make, root=root, load=load)
    if workers > 1:
        track_parallel_progress(one, tasks, workers, keep_order=False)
    else:
        track_progress(one, tasks)
    print()
