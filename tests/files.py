"""How many files this process may open, for a while."""

import os
import resource
from contextlib import contextmanager


@contextmanager
def files_below(number):
    """This process may open files with lower numbers only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def out_of_files(left):
    """This process may open so many files more."""
    # The next ones get the lowest numbers that are free.
    free = [os.open("/dev/null", os.O_RDONLY) for _ in range(left + 1)]
    for number in free:
        os.close(number)
    with files_below(free[-1]):
        yield
