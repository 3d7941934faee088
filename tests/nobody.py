"""A user who may not do everything, also where root runs the tests."""

import os
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def nobody():
    """Be one of those for a while (setresuid(2))."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def closed(folder):
    """Have a folder that nobody may enter, and be one of those."""
    folder.mkdir()
    folder.chmod(0)
    try:
        with nobody():
            yield folder
    finally:
        folder.chmod(0o700)
