"""Calls that ``torch.compile`` leaves as they are.

They are in a file of their own, which is imported when there is such a call: to say so imports the
compiler, which takes as long as to import torch.
"""

from collections.abc import Callable
from typing import Any

import torch


@torch.compiler.disable  # type: ignore[untyped-decorator]
def untraced(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns of its arguments.

    >>> untraced(max, 1, 2)
    2
    """
    return function(*arguments)
