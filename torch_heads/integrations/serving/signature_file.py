"""``signature.json``, written and read: strict JSON, which is looked at before it is believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.json_text import read_json
from torch_heads.integrations.serving.manifest_check import check_manifest
from torch_heads.integrations.serving.signature import (
    DTYPES,
    METHODS,
    Dims,
    Input,
    Kind,
    Manifest,
    Output,
    Signature,
)

FILE = "signature.json"
FORMAT = 2  # of which a later one is refused, and what is unknown in this one is ignored
VOCABULARY = "vocabulary"  # in a head's configuration, in place of names that stand elsewhere


def share_vocabularies(config: Any, vocabularies: Mapping[str, tuple[str, ...]]) -> Any:
    """Return a head's configuration that names its vocabularies, so that each stands once."""
    keys = {names: key for key, names in vocabularies.items()}

    def shared(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shared(own) for key, own in value.items()}
        if not isinstance(value, list):
            return value
        strings = all(isinstance(one, str) for one in value)
        key = keys.get(tuple(value)) if strings else None
        return [shared(one) for one in value] if key is None else {VOCABULARY: key}

    return shared(config)


def with_vocabularies(config: Any, vocabularies: Mapping[str, tuple[str, ...]]) -> Any:
    """Return a head's configuration with its vocabularies.

    Raises:
        KeyError: if one is not there.
    """
    if isinstance(config, Mapping):
        if config.keys() == {VOCABULARY}:
            key = config[VOCABULARY]
            if not isinstance(key, str):
                raise KeyError(repr(key))
            return list(vocabularies[key])
        return {key: with_vocabularies(own, vocabularies) for key, own in config.items()}
    if isinstance(config, list):
        return [with_vocabularies(one, vocabularies) for one in config]
    return config


def to_json(manifest: Manifest) -> str:
    """Return a manifest as strict JSON, without what is as usual."""
    content = {"format": FORMAT, **_plain(manifest)}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        fields = value.__dataclass_fields__
        given = {name: getattr(value, name) for name in fields}
        usual = {name: one.default for name, one in fields.items()}
        return {key: _plain(own) for key, own in given.items() if own != usual[key]}
    if isinstance(value, Mapping):
        return {key: _plain(own) for key, own in value.items()}
    return [_plain(own) for own in value] if isinstance(value, (list, tuple)) else value


def from_json(who: str, text: str | bytes) -> Manifest:
    """Return the manifest in a text.

    Raises:
        ValueError: if it is none, or of a later format.
    """
    try:
        given = read_json(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(unexpected(who, FILE, "as JSON", error)) from None
    content = _dict(who, FILE, given)
    if content.get("format") != FORMAT or isinstance(content.get("format"), bool):
        older = content.get("format") in range(1, FORMAT)
        hint = "Export the model again." if older else "A newer version of torch_heads may read it."
        raise ValueError(unexpected(who, "format", str(FORMAT), content.get("format"), hint))
    read = _Reader(who)
    manifest = Manifest(
        inputs=read.mapping("inputs", content, read.input),
        outputs=read.mapping("outputs", content, read.output),
        signatures=read.mapping("signatures", content, read.signature),
        vocabularies=read.mapping("vocabularies", content, read.names),
        stacked=read.mapping("stacked", content, read.output),
        kinds=tuple(read.kind(one) for one in read.list_of("kinds", content)),
        places=read.mapping("places", content, read.place),
        head=_dict(who, "head", content.get("head", {})),
        state=read.mapping("state", content, read.string),
        files=read.mapping("files", content, read.file),
    )
    check_manifest(who, manifest)
    return manifest


class _Reader:
    """Reads the parts of a manifest, and refuses what they cannot be."""

    def __init__(self, who: str) -> None:
        self._who = who

    def mapping(self, name: str, given: Any, read: Callable[[str, Any], Any]) -> dict[str, Any]:
        own = _dict(self._who, name, given.get(name, {}))
        return {key: read(f"{name} {key!r}", value) for key, value in own.items()}

    def list_of(self, name: str, given: Any) -> list[Any]:
        own = given.get(name, [])
        if not isinstance(own, list):
            self._refuse(name, "as a list", own)
        return own

    def input(self, name: str, given: Any) -> Input:
        own = _dict(self._who, name, given)
        lookup = self.names(name, own["lookup"]) if "lookup" in own else None
        numbers = self._numbers(name, own, lookup)
        others = self._whole(name, own.get("others"))
        return Input(self.dtype(name, own), self.shape(name, own), lookup, numbers, others)

    def _numbers(
        self, name: str, own: Mapping[str, Any], lookup: tuple[str, ...] | None
    ) -> tuple[int, ...] | None:
        given = own.get("numbers")
        if given is None:
            return None
        whole = isinstance(given, list) and all(
            type(one) is int and -(2**63) <= one < 2**63 for one in given
        )
        if not whole or len(given) != len(lookup or ()):
            self._refuse(name, "with a whole number for each known string", given)
        return tuple(given)

    def output(self, name: str, given: Any) -> Output:
        own = _dict(self._who, name, given)
        names = own.get("names")
        if not isinstance(names, str | None):
            names = self.names(name, names) if isinstance(names, list) else self._whole(name, names)
        return Output(
            self.dtype(name, own),
            self.shape(name, own),
            columns=self._optional(name, own.get("columns")),
            tensor=self._optional(name, own.get("tensor")),
            stride=self._whole(name, own.get("stride")),
            size=self._whole(name, own.get("size")),
            inner=self._whole(name, own.get("inner", 0)) or 0,
            names=names,
            ids=self._optional(name, own.get("ids")),
        )

    def signature(self, name: str, given: Any) -> Signature:
        own = _dict(self._who, name, given)
        method = own.get("method")
        if method not in METHODS:
            self._refuse(name, f"with a method among {preview(METHODS)}", repr(method))
        return Signature(str(method), self.mapping("outputs", own, self.string))

    def kind(self, given: Any) -> Kind:
        own = _dict(self._who, "kinds", given)
        outputs = self.mapping("outputs", own, self.output)
        return Kind(outputs, self.mapping("signatures", own, self.signature))

    def place(self, name: str, given: Any) -> tuple[int, int]:
        if not isinstance(given, list) or [type(one) for one in given] != [int, int]:
            self._refuse(name, "as [kind, column]", given)
        return given[0], given[1]

    def dtype(self, name: str, given: Mapping[str, Any]) -> str:
        dtype = given.get("dtype")
        if dtype not in (*DTYPES, "string"):
            self._refuse(
                name, f"with a dtype among {preview((*DTYPES, 'string'), 20)}", repr(dtype)
            )
        return str(dtype)

    def shape(self, name: str, given: Mapping[str, Any]) -> Dims:
        shape = given.get("shape")
        whole = isinstance(shape, list) and all(
            isinstance(size, str) or (type(size) is int and size >= 0) for size in shape
        )
        if not whole:
            self._refuse(name, "with a shape of sizes and names", repr(shape))
        return tuple(shape or ())

    def names(self, name: str, given: Any) -> tuple[str, ...]:
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            self._refuse(name, "as a list of strings", type(given).__name__)
        return tuple(given)

    def file(self, name: str, given: Any) -> tuple[int, str]:
        kinds = [type(one) for one in given] if isinstance(given, list) else []
        if kinds != [int, str]:
            self._refuse(name, "as [bytes, sha256]", given)
        return given[0], given[1]

    def string(self, name: str, given: Any) -> str:
        if not isinstance(given, str):
            self._refuse(name, "as a string", repr(given))
        return given

    def _optional(self, name: str, given: Any) -> str | None:
        return None if given is None else self.string(name, given)

    def _whole(self, name: str, given: Any) -> int | None:
        if given is not None and (type(given) is not int or not -(2**63) <= given < 2**63):
            self._refuse(name, "with whole numbers", repr(given)[:80])
        return given

    def _refuse(self, name: str, expected: str, given: Any) -> NoReturn:
        raise ValueError(unexpected(self._who, name, expected, given))


def _dict(who: str, name: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(unexpected(who, name, "as a dict", type(given).__name__))
    return given
