"""Exporters: what `train_and_evaluate` leaves for servers, as `tf.estimator`'s."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

from torch_heads.functional.arguments import check_count
from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.config import Functions
from torch_heads.integrations.atomic import replacing

Result = Mapping[str, Any]  # the values of an evaluation, by key
Inputs = Mapping[str, Sequence[int | str]]  # the axes of each, a size or a name where it is free
Lookups = Mapping[str, Sequence[str] | Mapping[str | None, int]]  # of strings, by feature

BEST = "best.json"  # the values of the best evaluation, for the trainings that follow


class Write(Protocol):
    """Writes a bundle below a folder, as `BaseEstimator.export_saved_model` does."""

    def __call__(
        self,
        folder: Path,
        example: Any,
        functions: Functions | None = None,
        *,
        inputs: Inputs | None = None,
        lookups: Lookups | None = None,
    ) -> Path:
        """Return the folder of the bundle."""


class Exporter(Protocol):
    """Writes bundles below ``model_dir/export/<name>``."""

    #: The name of its folder.
    name: str

    def export(self, write: Write, folder: Path, result: Result, is_final: bool) -> Path | None:
        """Write a bundle, if one is due after this evaluation, and return its folder."""


class ExampleExporter(ABC):
    """What both exporters share: what a bundle is told of the features.

    Args:
        name: of the folder below ``model_dir/export``.
        example: features of a few examples, as `BaseEstimator.export_saved_model` takes them.
        functions: names for the functions of the head, as `head_config` takes them.
        inputs: the axes of features by name, as `export_bundle` takes them.
        lookups: of features that are strings, as `export_bundle` takes them.

    Raises:
        ValueError: if the name is that of no folder.
        TypeError: if there is no example.
    """

    def __init__(
        self,
        name: str,
        example: Any,
        functions: Functions | None = None,
        *,
        inputs: Inputs | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        who = type(self).__name__
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise ValueError(unexpected(who, "name", "as the name of a folder", repr(name)))
        if example is None:
            hint = "For example: `{'x': torch.zeros(2, 3)}`."
            raise TypeError(unexpected(who, "example", "as features by name", None, hint))
        self.name, self.example = name, example
        self.functions, self.inputs, self.lookups = functions, inputs, lookups

    @abstractmethod
    def export(self, write: Write, folder: Path, result: Result, is_final: bool) -> Path | None:
        """Write a bundle, if one is due after this evaluation, and return its folder."""

    def _write(self, write: Write, folder: Path) -> Path:
        return write(folder, self.example, self.functions, inputs=self.inputs, lookups=self.lookups)


class FinalExporter(ExampleExporter):
    """Exports once, when all is trained; see `ExampleExporter` for what it takes."""

    def export(self, write: Write, folder: Path, result: Result, is_final: bool) -> Path | None:
        """Write a bundle at the end."""
        return self._write(write, folder) if is_final else None


class BestExporter(ExampleExporter):
    """Exports after each evaluation that is better than all before, of earlier trainings too.

    Args:
        name, example, functions, inputs, lookups: as `ExampleExporter` takes them.
        compare_fn: of the best values so far and the present ones, whether these are better; by
            default, whether the loss is smaller; any is better than NaN.
        exports_to_keep: how many of the last exports to keep; None for all.

    Raises:
        TypeError: if that is no function, or no number; and as `ExampleExporter` does.
        ValueError: if no export is kept; and as `ExampleExporter` does.
    """

    def __init__(
        self,
        name: str = "best_exporter",
        example: Any = None,
        compare_fn: Callable[[Result, Result], bool] | None = None,
        exports_to_keep: int | None = 5,
        functions: Functions | None = None,
        *,
        inputs: Inputs | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        if exports_to_keep is not None:
            check_count("BestExporter", "exports_to_keep", exports_to_keep, 1)
        if compare_fn is not None and not callable(compare_fn):
            given = type(compare_fn).__name__
            raise TypeError(unexpected("BestExporter", "compare_fn", "to be callable", given))
        super().__init__(name, example, functions, inputs=inputs, lookups=lookups)
        self.compare_fn = compare_fn or smaller_loss
        self.exports_to_keep = exports_to_keep

    def export(self, write: Write, folder: Path, result: Result, is_final: bool) -> Path | None:
        """Write a bundle, if the evaluation is the best."""
        best = folder / BEST
        if best.is_file() and not self.compare_fn(json.loads(best.read_text("utf-8")), result):
            return None
        path = self._write(write, folder)
        numbers = {key: float(value) for key, value in result.items() if isinstance(value, Real)}
        with replacing(best) as file:
            file.write(json.dumps(numbers).encode())
        if self.exports_to_keep is not None:
            every = [one for one in folder.iterdir() if one.name.isdecimal()]
            for old in sorted(every, key=lambda one: int(one.name))[: -self.exports_to_keep]:
                shutil.rmtree(old)
        return path


def check_exporters(who: str, given: Any) -> list[Exporter]:
    """Return the exporters among which one may stand for itself; None is none.

    Raises:
        TypeError: if one is no exporter.
        ValueError: if two have the same name, and so the same folder.
    """
    every = [] if given is None else list(given) if isinstance(given, Iterable) else [given]
    for one in every:
        if not callable(getattr(one, "export", None)) or not hasattr(one, "name"):
            expected = "with a name and an export method each"
            raise TypeError(unexpected(who, "exporters", expected, type(one).__name__))
    names = [one.name for one in every]
    if len({*names}) < len(names):
        raise ValueError(unexpected(who, "exporters", "of different names", preview(names)))
    return every


def smaller_loss(best: Result, result: Result) -> bool:
    """Return whether the present loss is smaller than the best, or the first that is no NaN."""
    before, now = float(best["loss"]), float(result["loss"])
    return now < before or (isnan(before) and not isnan(now))
