"""Writes the views into mbexplore/views/typed.pyi, for editors: python -m tests.typed."""

import re
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from mbexplore.views import REGISTRY, View
from mbexplore.views.result import Result

FILE = Path(__file__).parents[1] / "mbexplore" / "views" / "typed.pyi"


def source() -> str:
    """The stub, with an import and a method for each view of the package."""
    views = [one for one in REGISTRY.values() if one.__module__.startswith("mbexplore.views.")]
    names = sorted((one.__module__, one.__name__) for one in (*views, Result, View))
    imports = "".join(
        f"from {module} import {', '.join(name for _, name in some)}\n"
        for module, some in groupby(names, key=itemgetter(0))
    )
    methods = "".join(f"    {one.method} = of_{one.reads}({one.__name__})\n" for one in views)
    text = FILE.read_text(encoding="utf-8")
    text = re.sub(r"(from mbexplore\.views\.\w+ import .*\n)+", imports, text, count=1)
    return re.sub(r"(class ViewMethods:\n).*", rf"\1{methods}", text, flags=re.DOTALL)


if __name__ == "__main__":
    FILE.write_text(source(), encoding="utf-8")
