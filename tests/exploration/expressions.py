"""DynamoDB's expressions, as far as this application writes them: conditions, filters, keys and updates.

Whatever it does not write raises NotImplementedError, so that nothing is answered that nobody looked at.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple

Item = dict[str, Any]
"""An item, or a map in it, as DynamoDB's API has it: a type and a value for each name."""

_TOKEN: Final = re.compile(r"\s*([#:]?\w+|<>|<=|>=|[=<>(),.])")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


class InvalidPathError(Exception):
    """An update goes into a map that is not there, which DynamoDB refuses."""


class Given(NamedTuple):
    """What the placeholders of an expression stand for."""

    names: Mapping[str, str]
    values: Mapping[str, Any]


type Condition = Callable[[Item, Given], bool]
type Operand = Callable[[Item, Given], Any]
"""Gives a typed value, or None where the item has none."""

type Path = tuple[str, ...]
type Change = Callable[[Item, Item, Given], None]
"""Changes the new item (the second one) by what the old item says."""


def placeholders(*expressions: str | None) -> set[str]:
    """Return every placeholder that the expressions use."""
    return {name for text in expressions if text for name in re.findall(r"[#:]\w+", text)}


@cache
def condition(text: str) -> Condition:
    """Return what an expression asks of an item."""
    tokens = _Tokens(text)
    found = _either(tokens)
    tokens.expect_end()
    return found


@cache
def update(text: str) -> Callable[[Item, Given], Item]:
    """Return what an expression makes of an item; it raises InvalidPathError."""
    tokens, changes = _Tokens(text), list[Change]()
    read = {"SET": _set, "REMOVE": _remove, "ADD": _add}
    while tokens.peek():
        verb = tokens.next()
        if verb not in read:
            raise NotImplementedError(f"{verb} in {text}")
        changes.append(read[verb](tokens))
        while tokens.took(","):
            changes.append(read[verb](tokens))

    def apply(item: Item, given: Given) -> Item:
        new = dict(item)
        for change in changes:
            change(item, new, given)
        return new

    return apply


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = _TOKEN.findall(text)
        self._at = 0
        if "".join(self._tokens) != re.sub(r"\s", "", text):
            raise NotImplementedError(text)

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def next(self) -> str:
        self._at += 1
        token: str = self._tokens[self._at - 1]
        return token

    def took(self, token: str) -> bool:
        is_there = self.peek() == token
        self._at += is_there
        return is_there

    def expect(self, token: str) -> None:
        if not self.took(token):
            raise NotImplementedError(f"{token} expected before {self.peek()!r} in {self.text}")

    def expect_end(self) -> None:
        if self.peek():
            raise NotImplementedError(f"{self.peek()} in {self.text}")


# --- conditions -------------------------------------------------------------------------------------


def _either(tokens: _Tokens) -> Condition:
    parts = [_both(tokens)]
    while tokens.took("OR"):
        parts.append(_both(tokens))
    return parts[0] if len(parts) == 1 else lambda item, given: any(part(item, given) for part in parts)


def _both(tokens: _Tokens) -> Condition:
    parts = [_negated(tokens)]
    while tokens.took("AND"):
        parts.append(_negated(tokens))
    return parts[0] if len(parts) == 1 else lambda item, given: all(part(item, given) for part in parts)


def _negated(tokens: _Tokens) -> Condition:
    if tokens.took("NOT"):
        inner = _negated(tokens)
        return lambda item, given: not inner(item, given)
    if tokens.took("("):
        inner = _either(tokens)
        tokens.expect(")")
        return inner
    if tokens.peek() in {"attribute_exists", "attribute_not_exists"}:
        wants = tokens.next() == "attribute_exists"
        tokens.expect("(")
        path = _path(tokens)
        tokens.expect(")")
        return lambda item, given: (_read(item, path, given) is not None) == wants
    return _comparison(tokens)


def _comparison(tokens: _Tokens) -> Condition:
    left, operator = _operand(tokens), tokens.next()
    if operator == "IN":
        tokens.expect("(")
        several = [_operand(tokens)]
        while tokens.took(","):
            several.append(_operand(tokens))
        tokens.expect(")")
        return lambda item, given: any(_equal(left(item, given), one(item, given)) for one in several)
    right = _operand(tokens)
    if operator == "=":
        return lambda item, given: _equal(left(item, given), right(item, given))
    if operator not in _COMPARE:
        raise NotImplementedError(f"{operator} in {tokens.text}")
    compare = _COMPARE[operator]

    def holds(item: Item, given: Given) -> bool:
        one, other = left(item, given), right(item, given)
        if one is None or other is None or one.keys() != other.keys():
            return False
        return compare(_comparable(one), _comparable(other))

    return holds


def _operand(tokens: _Tokens) -> Operand:
    if tokens.peek().startswith(":"):
        name = tokens.next()
        return lambda _, given: given.values[name]
    path = _path(tokens)
    return lambda item, given: _read(item, path, given)


def _equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return False
    if "N" in one and "N" in other:
        return bool(_comparable(one) == _comparable(other))
    return bool(one == other)


def _comparable(value: Item) -> Any:
    ((kind, told),) = value.items()
    if kind not in {"S", "N"}:
        raise NotImplementedError(f"an order of values of type {kind}")
    return Decimal(told) if kind == "N" else told.encode()


# --- paths ------------------------------------------------------------------------------------------


def _path(tokens: _Tokens) -> Path:
    parts = [tokens.next()]
    while tokens.took("."):
        parts.append(tokens.next())
    return tuple(parts)


def _names(path: Path, given: Given) -> list[str]:
    return [given.names[part] if part.startswith("#") else part for part in path]


def _read(item: Item, path: Path, given: Given) -> Any:
    first, *inner = _names(path, given)
    value = item.get(first)
    for name in inner:
        value = (value or {}).get("M", {}).get(name)
    return value


def _holder(new: Item, path: Path, given: Given) -> tuple[Item, str]:
    """Return the map that the path's last name is in, which is the new item's own, and that name."""
    *outer, last = _names(path, given)
    for name in outer:
        if "M" not in new.get(name, {}):
            raise InvalidPathError
        new[name] = {"M": dict(new[name]["M"])}
        new = new[name]["M"]
    return new, last


# --- updates ----------------------------------------------------------------------------------------


def _set(tokens: _Tokens) -> Change:
    path = _path(tokens)
    tokens.expect("=")
    value = _held_or_else(tokens) if tokens.took("if_not_exists") else _operand(tokens)

    def change(item: Item, new: Item, given: Given) -> None:
        holder, name = _holder(new, path, given)
        holder[name] = value(item, given)

    return change


def _held_or_else(tokens: _Tokens) -> Operand:
    tokens.expect("(")
    held = _path(tokens)
    tokens.expect(",")
    otherwise = _operand(tokens)
    tokens.expect(")")
    return lambda item, given: _read(item, held, given) or otherwise(item, given)


def _remove(tokens: _Tokens) -> Change:
    path = _path(tokens)

    def change(_: Item, new: Item, given: Given) -> None:
        holder, name = _holder(new, path, given)
        holder.pop(name, None)

    return change


def _add(tokens: _Tokens) -> Change:
    path, more = _path(tokens), _operand(tokens)

    def change(item: Item, new: Item, given: Given) -> None:
        holder, name = _holder(new, path, given)
        added = more(item, given)
        if "SS" not in added:
            raise NotImplementedError("ADD of anything but a set of texts")
        holder[name] = {"SS": sorted({*holder.get(name, {"SS": []})["SS"], *added["SS"]})}

    return change
