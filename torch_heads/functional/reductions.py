"""From one loss per element to one loss per head."""

from enum import StrEnum

from torch_heads.functional.errors import preview, unexpected


class Reduction(StrEnum):
    """How a head's losses become one number.

    With an example's loss ``l`` and weight ``w`` (1 where none is given):

    ======================= ==================================================================
    ``sum_over_batch_size`` ``sum(w * l) / N``, ``N`` the number of loss elements; the default
    ``auto``                an alias of ``sum_over_batch_size``
    ``sum``                 ``sum(w * l)``
    ``weighted_mean``       ``sum(w * l) / sum(w)``
    ======================= ==================================================================
    """

    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"
    AUTO = "auto"
    SUM = "sum"
    WEIGHTED_MEAN = "weighted_mean"

    @classmethod
    def parse(cls, who: str, value: str) -> "Reduction":
        """Return the member of that name, with the alias resolved.

        Raises:
            ValueError: if ``value`` names no reduction.
        """
        try:
            reduction = cls(value if isinstance(value, str) else "")
        except ValueError:
            allowed = preview(str(member) for member in cls)
            raise ValueError(
                unexpected(who, "loss_reduction", f"among {allowed}", repr(value))
            ) from None
        return cls.SUM_OVER_BATCH_SIZE if reduction is cls.AUTO else reduction
