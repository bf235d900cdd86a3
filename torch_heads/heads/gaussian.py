"""The head of real numbers with a scale of their own."""

from __future__ import annotations

from collections.abc import Mapping

from torch_heads.families.family import Statistic
from torch_heads.families.gaussian import Gaussian
from torch_heads.functional.arguments import MissingLabel, check_share
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.computing_module import head_title
from torch_heads.heads.distribution_head import DistributionHead
from torch_heads.metrics.asked import Asked


class GaussianRegressionHead(DistributionHead):
    """Real numbers, each with a standard deviation of its own, by the normal distribution.

    The loss is the negative log-likelihood, ``((y - m) / s) ** 2 / 2 + log(s) + log(2 pi) / 2``.
    ``beta`` weighs its gradient, not its value, by ``s ** (2 * beta)`` (Seitzer et al., 2022), so
    that labels which are predicted badly still move ``m``.

    Shapes: logits ``[D0, ..., DN, label_dimension * 2]``, of each label ``m`` and ``log(s)``, the
    latter taken within +-30; labels ``[D0, ..., DN, label_dimension]``, which may lack the last
    dimension where it is 1.

    Predictions: ``predictions``, the mean ``m``, and ``scale``, the standard deviation ``s``, both
    ``[D*, label_dimension]``, and ``logits``.

    Args:
        label_dimension: how many numbers per example.
        beta: how much the gradient is weighed, in [0, 1]; 0 for the plain likelihood.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, or a number that no label has, or
            a list of these. With it, None, NaN and what is masked are missing, too.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = GaussianRegressionHead()
    >>> head.loss(labels=[1.0, 3.0], logits=[[1.0, 0.0], [1.0, 0.0]])
    tensor(1.9189)
    """

    def __init__(
        self,
        label_dimension: int = 1,
        beta: float = 0.5,
        weight_column: WeightColumn = None,
        loss_reduction: str = "sum_over_batch_size",
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        metrics: Asked = None,
    ) -> None:
        beta = check_share(head_title(type(self), name), "beta", beta, bounds=True)
        super().__init__(
            Gaussian(beta),
            label_dimension,
            weight_column=weight_column,
            loss_reduction=loss_reduction,
            name=name,
            missing_label=missing_label,
            metrics=metrics,
        )
        self.beta = beta

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key."""
        return {
            "predictions": Gaussian.mean,
            "scale": Gaussian.scale,
            "logits": Gaussian.logits,
        }
