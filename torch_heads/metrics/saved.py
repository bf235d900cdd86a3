"""The counts of a collection in a ``state_dict``: what they mean stands beside them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor
from torchmetrics import MetricCollection

MEANING = "_meaning"  # the entry that says it, of a head and of a collection


class CountsMeaning(ABC):
    """What the counts of a collection mean."""

    @abstractmethod
    def to_tensor(self) -> Tensor:
        """Return it as bytes, uint8."""

    @abstractmethod
    def refuse_other_counts(self, saved: Any) -> None:
        """Refuse counts that mean something else.

        Args:
            saved: what `to_tensor` returned of theirs.

        Raises:
            ValueError: by the name of the head, with what differs.
        """


class SavedCounts(MetricCollection):
    """A collection that says in its ``state_dict`` what its counts mean, and asks what it loads.

    There is such an entry where there are counts. Checkpoints without it load.

    Attributes:
        meaning: what they mean.
    """

    meaning: CountsMeaning

    def __init__(self) -> None:
        super().__init__({}, compute_groups=False)
        self.register_state_dict_post_hook(tell)  # type: ignore[no-untyped-call]

    @property
    def _meaning(self) -> Tensor:
        """The entry, where tools that walk by its key look for it."""
        return self.meaning.to_tensor()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.pop(prefix + MEANING, None)
        if saved is not None:
            self.meaning.refuse_other_counts(saved)
        super()._load_from_state_dict(state_dict, prefix, *args)


def tell(collection: SavedCounts, destination: dict[str, Any], prefix: str, _: Any) -> None:
    """Put what the counts mean beside those of a collection, if there are any."""
    if any(key.startswith(prefix) for key in destination):
        destination[prefix + MEANING] = collection.meaning.to_tensor()
