"""What every head promises, as a check for heads of one's own."""

from torch_heads.testing.check import check_head
from torch_heads.testing.promises import PROMISES
from torch_heads.testing.sample import (
    FEATURES,
    ROWS,
    STEPS,
    Sample,
    move_to,
    random_sample,
    take_rows,
)
from torch_heads.testing.subject import (
    REDUCTIONS,
    MakeHead,
    Subject,
    assert_same,
    evaluate,
    loss_and_gradient,
)

__all__ = [
    "FEATURES",
    "PROMISES",
    "REDUCTIONS",
    "ROWS",
    "STEPS",
    "MakeHead",
    "Sample",
    "Subject",
    "assert_same",
    "check_head",
    "evaluate",
    "loss_and_gradient",
    "move_to",
    "random_sample",
    "take_rows",
]
