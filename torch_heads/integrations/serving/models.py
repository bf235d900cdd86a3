"""The models of a server: by name and version, from one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.bundle import Bundle, model_of
from torch_heads.integrations.serving.signature_file import FILE

WHO = "serving_app"


class UnknownModelError(LookupError):
    """There is no model of that name, or of that version."""


class Models:
    """Bundles by name and version; a bundle without a version has 1.

    Args:
        source: a bundle; or the folder of one; of its versions, which are numbers; or of several
            models, each a bundle or a folder of versions.

    Raises:
        FileNotFoundError: if there is no folder.
        ValueError: if there is no bundle in it, or one is refused.
    """

    def __init__(self, source: Bundle | str | Path) -> None:
        self._found: dict[str, dict[int, Bundle]] = {}
        if isinstance(source, Bundle):
            self._add(source)
            return
        if not isinstance(source, (str, Path)):
            given = type(source).__name__
            raise TypeError(unexpected(WHO, "bundle_or_folder", "as a bundle or a folder", given))
        root = Path(source).absolute()
        if not root.is_dir():
            raise FileNotFoundError(unexpected(WHO, "path", "to a folder", str(source)))
        for path in _bundles(root):
            self._add(Bundle.load(path, spinning=False))
        if not self._found:
            given = preview(sorted(one.name for one in root.iterdir()))
            raise ValueError(unexpected(WHO, "path", "to a bundle, or a folder of some", given))

    def _add(self, bundle: Bundle) -> None:
        name, number = model_of(bundle.path)
        versions = self._found.setdefault(name, {})
        version = 1 if number is None else number
        if version in versions:
            given = f"version {version} of {name!r} twice"
            raise ValueError(unexpected(WHO, "path", "to different versions", given))
        versions[version] = bundle

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._found)

    def versions(self, name: str) -> dict[int, Bundle]:
        """Return the versions of a model.

        Raises:
            UnknownModelError: if there is none of that name.
        """
        if name not in self._found:
            raise UnknownModelError(unexpected("server", "a model", f"among {[*self]}", repr(name)))
        return self._found[name]

    def get(self, name: str, version: Any = None) -> tuple[int, Bundle]:
        """Return a version of a model, by default the latest.

        Raises:
            UnknownModelError: if it is not there.
        """
        versions = self.versions(name)
        number = max(versions) if version is None else int(version)
        if number not in versions:
            expected = f"of {name!r} among {sorted(versions)}"
            raise UnknownModelError(unexpected("server", "a version", expected, number))
        return number, versions[number]

    def only(self) -> str:
        """Return the name of the one model that there is.

        Raises:
            UnknownModelError: if there are several.
        """
        if len(self._found) > 1:
            expected = f"among {[*self]} to be named"
            raise UnknownModelError(unexpected("server", "a model", expected, "none"))
        return next(iter(self._found))


def _bundles(root: Path) -> Iterator[Path]:
    """Yield the bundles in a folder, and in those that it has, two levels deep."""
    if (root / FILE).is_file():
        yield root
        return
    for one in sorted(root.iterdir()):
        if one.name.startswith(".") or not one.is_dir():
            continue
        if (one / FILE).is_file():
            yield one
        else:
            versions = (own for own in sorted(one.iterdir()) if own.name.isdecimal())
            yield from (own for own in versions if (own / FILE).is_file())
