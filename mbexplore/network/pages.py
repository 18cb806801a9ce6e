"""The memory that a tensor lies in, as Linux pages; elsewhere nothing here has any effect.

Knows no model. Nothing changes a tensor's values.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from contextlib import suppress

from torch import Tensor

FREE, JOIN = 4, 25
"""Linux's MADV_DONTNEED and MADV_COLLAPSE."""

HUGE = 2**21
"""Bytes of a huge page."""

ABSENT, OF_A_FILE = 0b000, 0b101
"""The three highest bits of a page's entry in /proc/self/pagemap: present, swapped, of a file."""


def free_mapped(tensor: Tensor) -> None:
    """Takes a tensor that is mapped from a file out of memory; the next use reads it again.

    From the system's cache of the file, so what was read once is not read from the disk again. A
    tensor of which any page is no longer the file's, as after an edit in place, is left alone.
    """
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        return
    first, stop = _pages(tensor.data_ptr(), tensor.nbytes)
    with suppress(OSError), open("/proc/self/pagemap", "rb") as entries:
        entries.seek(8 * first)
        found = entries.read(8 * (stop - first))  # little-endian, 8 bytes a page
        if {byte >> 5 for byte in set(found[7::8])} <= {ABSENT, OF_A_FILE}:
            _advise(first, stop, FREE)


def join_pages(start: int, size: int) -> None:
    """Moves memory to huge pages, of which a processor finds many more at once.

    Those at its ends too, which it shares with its neighbours: of weights of a few MiB they are
    half. Where a neighbour can't be moved, they stay as they are.

    Args:
        start: address.
        size: bytes.
    """
    if size:
        small = HUGE // mmap.PAGESIZE
        _advise(start // HUGE * small, -(-(start + size) // HUGE) * small, JOIN)


def _pages(start: int, size: int) -> tuple[int, int]:
    """Numbers of the first page that lies inside, and of the first after it that doesn't."""
    first = -(-start // mmap.PAGESIZE)
    return first, max(first, (start + size) // mmap.PAGESIZE)


def _advise(first: int, stop: int, advice: int) -> None:
    if sys.platform == "linux" and stop > first:
        with suppress(AttributeError):  # another C library
            address, size = first * mmap.PAGESIZE, (stop - first) * mmap.PAGESIZE
            ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), advice)
