"""What every head promises: each promise a function that raises where a head breaks it."""

from __future__ import annotations

from collections.abc import Callable

from torch_heads.testing.of_losses import (
    every_label_has_a_loss_of_its_own,
    half_precision_is_computed_in_float32,
    the_gradient_is_that_of_the_loss,
    the_same_batch_always_has_the_same_loss,
)
from torch_heads.testing.of_many import fused_is_alone, it_follows_its_arguments
from torch_heads.testing.of_objects import (
    a_copy_is_a_head_of_its_own,
    built_on_the_meta_device_it_is_the_same,
    it_compiles_without_a_break,
    it_is_exported_with_a_free_batch_size,
)
from torch_heads.testing.of_rows import (
    an_empty_batch_counts_nowhere,
    batches_may_be_cut_anywhere,
    the_order_of_rows_changes_nothing,
    weight_one_is_no_weight,
    weight_two_is_a_row_twice,
    weight_zero_is_a_row_removed_and_a_label_missing,
    what_does_not_count_may_hold_nan,
)
from torch_heads.testing.subject import Subject

#: What every head promises, by a sentence.
PROMISES: dict[str, Callable[[Subject], None]] = {
    "every label has a loss of its own": every_label_has_a_loss_of_its_own,
    "the same batch always has the same loss": the_same_batch_always_has_the_same_loss,
    "it follows its arguments": it_follows_its_arguments,
    "a weight of 0 is a row removed, and a label missing": (
        weight_zero_is_a_row_removed_and_a_label_missing
    ),
    "a row of weight 0 may hold NaN": what_does_not_count_may_hold_nan,
    "a weight of 2 is a row twice": weight_two_is_a_row_twice,
    "a weight of 1 is no weight": weight_one_is_no_weight,
    "batches may be cut anywhere": batches_may_be_cut_anywhere,
    "the order of rows changes nothing": the_order_of_rows_changes_nothing,
    "heads computed as one are the heads alone": fused_is_alone,
    "the gradient is that of the loss": the_gradient_is_that_of_the_loss,
    "half precision is computed in float32": half_precision_is_computed_in_float32,
    "an empty batch counts nowhere": an_empty_batch_counts_nowhere,
    "it compiles without a break": it_compiles_without_a_break,
    "it is exported with a free batch size": it_is_exported_with_a_free_batch_size,
    "a copy is a head of its own": a_copy_is_a_head_of_its_own,
    "built on the meta device it is the same": built_on_the_meta_device_it_is_the_same,
}
