"""Settings of a process during a run."""

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from disentangle_bench.runner.environment import repeatable

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(20 * 2**17) for _ in range(3)]  # 20 MiB each
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
with repeatable(1):
    faults()
    print(faults())
    held = open("/proc/self/statm").read().split()[1]
print(int(held) - int(open("/proc/self/statm").read().split()[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc"
)
def test_freed_memory_is_kept_during_a_run_and_given_back_after_it():
    """Memory that was given back causes a page fault for every page when it is taken again."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    outside, inside, given_back = map(int, done.stdout.split())
    assert inside < outside / 20
    assert given_back * 4096 > 40 * 2**20
