"""What one update frees is there for the next, and people's own settings of glibc are left alone."""

import os
import platform
import subprocess
import sys

import pytest

from dal.allocator import keep_freed_memory

PROGRAM = """
import resource, sys, torch
from dal.allocator import keep_freed_memory
print(keep_freed_memory())
before = 0
for i in range(25):
    if i == 15:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12 * 2**20)  # 48 MiB, above what glibc ever keeps of its own accord
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another")


def faults(**changes):
    """Whether memory is kept, and the pages that ten tensors of 48 MiB were given anew."""
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    environment = {k: v for k, v in os.environ.items() if k not in names} | changes
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    kept, count = done.stdout.split()
    return kept == "True", int(count)


@glibc
def test_freed_memory_is_used_again_unless_the_environment_says_how():
    kept, few = faults()
    left_alone, many = faults(MALLOC_MMAP_THRESHOLD_="1048576")
    # Pages are 2 MiB at most, where the system gives such.
    assert kept and few < 120
    assert not left_alone and many >= 240


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr("dal.allocator.ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False
