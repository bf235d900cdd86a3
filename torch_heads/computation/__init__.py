"""The computation of heads: targets of one family side by side, each batch encoded once.

The words that stand here and everywhere below:

============ =====================================================================================
target       what one head of a single target declares: its family, columns, reduction, readings
group        the targets that are computed as one (fused); a head alone is a group of one
column       a label column, one of the ``U`` of a group; each has logits of its own
present      a label is there, and not missing
valid        a row is there, and not padding
active       a label is present, valid, and its weight is not 0: it counts
stacked      logits or labels of all targets in one tensor, side by side
prior        what is known of labels before any input is seen: offset and scale of their logits
absent       of a target: a batch has no labels for it at all
meaning      of states: of which heads they are, in which order, with which classes
============ =====================================================================================

Shapes: ``D*`` are the dimensions of the batch, ``N`` is their product, ``U`` the number of label
columns of a group, ``H`` that of its targets, ``T`` that of all targets of a head.
"""
