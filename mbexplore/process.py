"""What a process of mbexplore sets before torch is imported; a library sets nothing."""

from __future__ import annotations

import os

HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def ask_for_huge_pages() -> None:
    """Has torch ask Linux for huge pages for large tensors, unless the user has decided.

    Where every attention map is looked at once, small ones cost four tenths of the time.
    """
    os.environ.setdefault(HUGE_PAGES, "1")
