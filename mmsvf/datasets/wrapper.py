"""A data set around another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import DATASETS
from torch.utils.data import Dataset

PATHS = ('filename', 'img_path', 'frame_dir', 'folder', 'video', 'action')


class DatasetWrapper(Dataset):
    """Another data set: what the wrapper does not have itself is read from it, and whatever is set is set on it.

    MMEngine's wrappers, such as ``RepeatDataset``, pass on some methods, and no attribute that is set.

    Args:
        dataset: The data set, or its config.
        own: Attributes of the wrapper itself.
    """

    def __init__(self, dataset: dict[str, Any] | Any, **own: Any) -> None:
        built = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.__dict__.update(own, dataset=built)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if 'dataset' not in self.__dict__:  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)  # hooks change pipelines


def sample_name(dataset: Any, index: int) -> str:
    """The file of a sample, or its index where the data set does not tell."""
    info = dataset.get_data_info(index) if hasattr(dataset, 'get_data_info') else {}
    return file_name(info, f'sample {index}')


def file_name(info: Mapping[str, Any], otherwise: str) -> str:
    """The file that a sample's information names, or ``otherwise``."""
    return next((str(info[key]) for key in PATHS if info.get(key)), otherwise)
