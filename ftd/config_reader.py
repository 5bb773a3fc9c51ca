"""Reads one TOML file into a typed section, and says what is wrong with it: file, key, what is allowed."""

import difflib
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ftd.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)


def read_toml(path: Path, section: type[S]) -> S:
    """The file's contents as `section`.

    Raises ConfigError when it cannot be read, is no TOML, has a key that `section` does not know, or a value
    of the wrong type or out of range.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    for problem in _problems(data, section, ""):
        raise ConfigError(f"{path}: {problem}")
    try:
        return msgspec.convert(data, section)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_with_key_first(str(error))}") from error


def _problems(data: object, kind: Any, where: str) -> Iterator[str]:
    """A sentence for each key or choice that `kind` does not have; msgspec would not say which it has."""
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if isinstance(data, str) and data not in choices:
            yield f"{where[:-1]}: {data!r} is not one of {', '.join(choices)}"
    if not isinstance(data, dict):
        return
    struct = _struct_of(kind)
    if struct is not None:
        fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
        for key, value in data.items():
            if key in fields:
                yield from _problems(value, fields[key], f"{where}{key}.")
            else:
                yield _unknown_key(key, sorted(fields), where)
    elif typing.get_origin(kind) is dict:
        for key, value in data.items():
            yield from _problems(value, typing.get_args(kind)[1], f"{where}{key}.")


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    """`kind` itself if it is a section, or the section in `section | None`."""
    choices = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return choice
    return None


def _unknown_key(key: str, allowed: list[str], where: str) -> str:
    close = difflib.get_close_matches(key, allowed, n=2)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    return f"{where}{key}: unknown key{hint}; allowed here: {', '.join(allowed)}"


def _with_key_first(message: str) -> str:
    """msgspec says "what is wrong - at `$.section.key`"; operators look for the key first."""
    what, separator, where = message.rpartition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if separator else message
