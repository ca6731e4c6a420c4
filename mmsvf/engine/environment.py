"""What a run needs of the machine: packages that fit each other, and a rank in each process."""

from __future__ import annotations

import importlib
import os
import shutil
import warnings
from importlib.util import find_spec

# what launchers other than torchrun call RANK and LOCAL_RANK, and what starts their processes
RANKS = dict(
    slurm=('SLURM_PROCID', 'SLURM_LOCALID', 'srun, as in tools/slurm_train.sh'),
    mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK', 'mpirun of Open MPI'),
)


def name_ranks(launcher: str) -> None:
    """Set RANK and LOCAL_RANK as torchrun does: MMEngine does so too late (slurm), or not at all (mpi).

    Raises:
        ValueError: the launcher's variables are missing, or the first machine cannot be found out.
    """
    if launcher not in RANKS:
        return
    *names, starter = RANKS[launcher]
    for name, own in zip(('RANK', 'LOCAL_RANK'), names, strict=True):
        if own not in os.environ:
            raise ValueError(f'--launcher {launcher}: {own} is not set; start the processes with {starter}')
        os.environ[name] = os.environ[own]
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ and shutil.which('scontrol') is None:
        raise ValueError(
            '--launcher slurm asks scontrol for the name of the first machine, and there is no scontrol here (is this '
            'a container?); set MASTER_ADDR to that name, as MASTER_ADDR=$(scontrol show hostname '
            '"$SLURM_JOB_NODELIST" | head -n1) in the batch script'
        )


def check_environment() -> None:
    """Stop early, with the fix, where an installed package cannot work.

    Raises:
        RuntimeError: a torchvision that does not fit torch (it would break every Runner), or no
            ``pkg_resources`` for an MMEngine that needs it.
    """
    try:
        with warnings.catch_warnings():  # of reading pictures by torchvision, which nothing here does
            warnings.filterwarnings('ignore', 'Failed to load image Python extension')
            importlib.import_module('torchvision')
    except ModuleNotFoundError:
        pass
    except Exception as error:  # a mismatched build fails in many ways
        raise RuntimeError(
            f'torchvision does not fit the installed torch ({error}); install the matching build, or, without a GPU: '
            'pip install --no-deps torchvision==0.16.2'
        ) from error
    package_utils = find_spec('mmengine.utils.package_utils')
    if package_utils is not None and package_utils.origin and find_spec('pkg_resources') is None:
        with open(package_utils.origin, encoding='utf-8') as source:
            if 'import pkg_resources' in source.read():
                raise RuntimeError(
                    'this MMEngine needs pkg_resources, which setuptools >= 81 dropped; fix: '
                    'pip install setuptools==80.10.2'
                )
