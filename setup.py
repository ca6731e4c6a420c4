"""Packaging of mmsvf; the tools and configs travel in the wheel as mmsvf/.mim, where MIM looks.

MMSVF_WEIGHTS=ADDRESS pip wheel . says where the folder checkpoints/ is published, for mim download (docs/zoo.md).
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
MIM = ('tools', 'configs', 'checkpoints', 'model-index.yml')


class BuildWithMim(build_py):
    """Adds mmsvf/.mim: copies in a wheel, links into the checkout in an editable install."""

    def run(self) -> None:
        """Build, then add the folder."""
        super().run()
        if getattr(self, 'editable_mode', False):
            link = ROOT / 'mmsvf' / '.mim'
            link.mkdir(exist_ok=True)
            for name in MIM:
                (link / name).unlink(missing_ok=True)
                os.symlink(os.path.join('..', '..', name), link / name)
            return
        target = Path(self.build_lib) / 'mmsvf' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in MIM:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(source, target / name)
        if address := os.environ.get('MMSVF_WEIGHTS'):
            for metafile in target.rglob('metafile.yml'):
                text = metafile.read_text(encoding='utf-8')
                metafile.write_text(text.replace('Weights: checkpoints/', f'Weights: {address.rstrip("/")}/'), 'utf-8')


# What the frameworks need besides torch, torchvision, OpenCV and each other: installing an extra
# must not replace a torch, an mmcv or an OpenCV that is there (docs/install.md).
MMENGINE = ['addict', 'matplotlib', 'numpy', 'packaging', 'Pillow', 'pyyaml', 'rich', 'scipy', 'termcolor', 'yapf']
MMENGINE += ['tensorboard']
ACTION = [*MMENGINE, 'av', 'decord>=0.4.1', 'einops', 'importlib-metadata']
SEG = [*MMENGINE, 'av', 'ftfy', 'prettytable', 'regex']
POSE = [
    *MMENGINE,
    'av',
    'joblib',
    'json-tricks',
    'munkres',
    'numpy<2',
    'pycocotools',
    'shapely',
    'six',
    'terminaltables',
    'tqdm',
]
POSE += ['xtcocotools>=1.12']
PRETRAIN = [*MMENGINE, 'einops', 'importlib-metadata', 'mat4py', 'modelindex']
# the demo page, whose samples scikit-image and scikit-learn are for
APP = sorted({*ACTION, *SEG, *POSE, 'scikit-image', 'scikit-learn', 'werkzeug>=3'})
# what imagecorruptions-imaug (ImageNet-C) needs; itself it is installed with --no-deps
ROBUSTNESS = ['scikit-image']
DEV = ['mypy', 'pre-commit', 'pytest', 'pytest-xdist', 'ruff', 'scikit-image', 'scikit-learn']

setup(
    name='mmsvf',
    version=re.findall(r"__version__ = '(.+)'", (ROOT / 'mmsvf' / 'version.py').read_text())[0],
    description='SpikeVideoFormer for OpenMMLab: spike-driven video transformers for mmaction2, mmseg, mmpose',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='spiking neural network, video transformer, action recognition, OpenMMLab',
    packages=find_packages(include=['mmsvf', 'mmsvf.*']),
    package_data={
        'mmsvf': ['py.typed'],
        'mmsvf.analysis.energy': ['*.jinja'],
        'mmsvf.app': ['page/*'],
        'mmsvf.body': ['*.npz'],
    },
    cmdclass={'build_py': BuildWithMim},
    python_requires='>=3.11,<3.14',  # spikingjelly 2 needs 3.11; mmengine 0.10.7 ends with 3.13 (docs/install.md)
    # spikingjelly is not listed: it asks for torchaudio and torchvision, which would replace torch
    install_requires=['torch>=2.6', 'jinja2', 'numpy', 'numba', 'loguru', 'packaging'],
    extras_require={
        'action': ACTION,
        'seg': SEG,
        'pose': POSE,
        'pretrain': PRETRAIN,
        'robustness': ROBUSTNESS,
        'app': APP,
        'dev': DEV,
        'all': sorted({*ACTION, *SEG, *POSE, *PRETRAIN, *ROBUSTNESS}),
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
