"""Memory that a step frees and the next one needs again."""

import ctypes
import logging
import platform

log = logging.getLogger(__name__)

# <malloc.h> of glibc
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """From now on this process keeps what it frees, for its next step, instead of handing it back to the system.

    A step on a CPU allocates and frees the same large tensors again and again. glibc hands them back each time, and
    the system gives every page out anew, filled with zeros, at the first touch: 6 to 10 % of a step's time
    (docs/speed.md). The peak of memory grows by some percent at most; it is held between peaks.

    Returns:
        Whether it could be arranged; elsewhere than on glibc nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    done = bool(libc.mallopt(M_MMAP_MAX, 0)) and bool(libc.mallopt(M_TRIM_THRESHOLD, NEVER))
    if not done:
        log.info("glibc does not keep freed memory here")
    return done
