"""ImageNet-C (Hendrycks and Dietterich, ICLR 2019): 15 corruptions of the validation images, 5 severities each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.datasets import ImageNet

from mmsvf.registry import DATASETS

from .reading import check_image, read_list, reading

CORRUPTIONS: dict[str, tuple[str, ...]] = {
    'noise': ('gaussian_noise', 'shot_noise', 'impulse_noise'),
    'blur': ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'),
    'weather': ('snow', 'frost', 'fog', 'brightness'),
    'digital': ('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'),
}
NAMES = tuple(name for names in CORRUPTIONS.values() for name in names)
SEVERITIES = (1, 2, 3, 4, 5)
LABELS = 'labels.txt'


@DATASETS.register_module()
class ImageNetC(ImageNet):
    """Images ``data_root/<corruption>/<severity>/<class>/*.JPEG``, already of the test's size.

    mmpretrain's ``ImageNet`` reads one folder of classes, and numbers those that it finds.

    The label of a class folder is its place among the sorted ones, as in ImageNet, when there is
    one for each class; otherwise ``data_root/labels.txt`` has it, a folder and a label per line.

    Args:
        data_root: Folder of the corruptions.
        corruptions: Names to use; the default is all 15.
        severities: Severities to use; the default is 1 to 5.
        **kwargs: As in mmpretrain's ``ImageNet`` (pipeline, metainfo).

    Raises:
        FileNotFoundError: a corruption or severity is missing.
        ValueError: labels cannot be told, or not all severities have the same images.
    """

    def __init__(
        self,
        data_root: str,
        corruptions: Sequence[str] = NAMES,
        severities: Sequence[int] = SEVERITIES,
        **kwargs: Any,
    ) -> None:
        self.corruptions, self.severities = tuple(corruptions), tuple(severities)
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """``img_path`` and ``gt_label`` of each image, in the order of corruptions and severities."""
        root = Path(self.data_root)
        cells = [root / name / str(severity) for name in self.corruptions for severity in self.severities]
        missing = [cell.relative_to(root).as_posix() for cell in cells if not cell.is_dir()]
        if missing:
            raise FileNotFoundError(
                f'{root} lacks {len(missing)} of {len(cells)} folders CORRUPTION/SEVERITY of ImageNet-C: '
                f'{", ".join(missing[:4])}; tools/analysis/imagenet_c.py makes them with --make-from VALIDATION_FOLDER'
            )
        images = [sorted(p for p in cell.glob('*/*') if p.suffix.lower() in self.extensions) for cell in cells]
        names = [{path.relative_to(cell) for path in paths} for cell, paths in zip(cells, images)]
        for cell, found in zip(cells, names):
            if not found or found != names[0]:
                raise ValueError(f'{cell} has {len(found)} images, not the same as the {len(names[0])} of {cells[0]}')
        labels = self._labels(root, sorted({name.parts[0] for name in names[0]}))
        return [dict(img_path=str(path), gt_label=labels[path.parent.name]) for paths in images for path in paths]

    def prepare_data(self, idx: int) -> Any:
        """Look at an image and run the pipeline on it."""
        path = self.get_data_info(idx)['img_path']
        check_image(path)
        with reading(path):
            return super().prepare_data(idx)

    def _labels(self, root: Path, folders: list[str]) -> dict[str, int]:
        if (root / LABELS).is_file():
            labels = {}
            for number, line in read_list(str(root / LABELS)):
                folder, _, label = line.rpartition(' ')
                if not folder or not label.isdecimal() or int(label) >= len(self.CLASSES):
                    raise ValueError(
                        f'{root / LABELS} line {number}: {line!r}; a folder and a label from 0 to '
                        f'{len(self.CLASSES) - 1} expected'
                    )
                labels[folder.strip()] = int(label)
            if set(folders) <= labels.keys():
                return labels
            raise ValueError(f'{root / LABELS} has no label for {sorted(set(folders) - labels.keys())[:4]}')
        if len(folders) != len(self.CLASSES):
            raise ValueError(
                f'{root} has {len(folders)} class folders for {len(self.CLASSES)} classes, so their order does not '
                f'give the labels; write {LABELS} beside the corruptions, a folder and a label per line'
            )
        return {folder: label for label, folder in enumerate(folders)}
