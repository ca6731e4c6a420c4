"""What the C library keeps of freed memory."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from mmsvf.engine import allocator
torch.set_num_threads(1)
done = {option}
big = 24 * 2**20 // 4
for _ in range(10):  # glibc's own threshold grows beyond it, and the heap to its size
    torch.ones(big)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(big)
print(done, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / (20 * big * 4))
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc')
@pytest.mark.parametrize(
    'option, paged_in', [('allocator.keep_freed_memory()', False), ('allocator.return_freed_memory()', True)]
)
def test_freed_memory_is_kept_or_returned(option, paged_in):
    """A tensor of 24 MB is paged in again every time, or never."""
    command, env = [sys.executable, '-c', SCRIPT.format(option=option)], {**os.environ, 'THP_MEM_ALLOC_ENABLE': '0'}
    done, share = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.split()
    assert done == 'True' and (float(share) > 0.9 if paged_in else float(share) < 0.3)
