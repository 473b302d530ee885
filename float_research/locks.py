"""Locks on open files, shared between processes."""

import time

from float_research.packages import platform_module

FCNTL, MSVCRT = platform_module("fcntl"), platform_module("msvcrt")
RETRY_S = 0.1


def lock(descriptor: int, *, wait: bool = False, inherited: bool = True) -> bool:
    """Locks an open file until it is closed or its process ends. Returns whether it is locked.

    Some file systems and platforms cannot lock. An `inherited` lock lasts until child processes forked meanwhile have
    ended too. On Windows the first byte is locked, so the file should be empty.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
    """
    if FCNTL is not None:
        act = FCNTL.flock if inherited else FCNTL.lockf
        try:
            act(descriptor, FCNTL.LOCK_EX | (0 if wait else FCNTL.LOCK_NB))
        except (BlockingIOError, PermissionError) as error:  # lockf may raise either
            raise BlockingIOError(*error.args) from error
        except OSError:  # a file system without locks
            return False
        return True
    while MSVCRT is not None:
        try:
            MSVCRT.locking(descriptor, MSVCRT.LK_NBLCK, 1)
        except OSError as error:
            if not wait:
                raise BlockingIOError(*error.args) from error
            time.sleep(RETRY_S)
        else:
            return True
    return False
