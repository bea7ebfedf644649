"""Pages of an answer: its items sorted by a field and cut at a limit; a cursor continues after the last."""

import hashlib
import types
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

MAX_LIMIT = 10_000
MAX_ITEMS = 30_000
"""Of an answer without a limit."""
CURSOR = "^[0-9]{1,7}-[0-9a-f]{16}$"

_IDENTITY = ("facility", "node", "gpu", "workload", "model", "boundary")

T = TypeVar("T", bound=Struct)


class TooManyItems(Exception):
    """An answer without a limit has more than MAX_ITEMS items."""


class Page(Struct, frozen=True):
    """
    What is asked of the items: `sort` is the path of a field, after a `-` in descending order; `cursor` is
    the `next` of the page before.
    """

    sort: str | None = None
    limit: int | None = None
    cursor: str | None = None


@cache
def sort_fields(item: type[Struct]) -> tuple[str, ...]:
    """The paths of all fields of *item* that have an order, such as `tokens.output`."""
    return tuple(_fields(item, ""))


def paged(items: Sequence[T], page: Page) -> tuple[tuple[T, ...], str | None]:
    """
    The items of one page, and the cursor of the next one; None if this is the last. Raises TooManyItems.

    The cursor names the last item of its page. If that is gone, the next page starts at its place.
    """
    found = _sorted(items, page.sort) if page.sort else items
    start = _start(found, page.cursor) if page.cursor else 0
    if page.limit is None:
        if len(found) - start > MAX_ITEMS:
            raise TooManyItems(f"{len(found)} items, more than {MAX_ITEMS}; set `limit`, or filter")
        return tuple(found[start:]), None
    end = start + page.limit
    return tuple(found[start:end]), f"{end}-{_mark(found[end - 1])}" if end < len(found) else None


def _fields(item: type[Struct], prefix: str) -> Iterator[str]:
    for field in msgspec.structs.fields(item):
        for kind in _kinds(field.type):
            if kind in (int, float, str, bool):
                yield prefix + field.name
                break
            if isinstance(kind, type) and issubclass(kind, Struct) and not prefix:
                yield from _fields(kind, f"{field.name}.")


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types of a union, without what qualifies them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _kinds(one)
    elif origin is Literal:
        yield str
    else:
        yield annotation


def _sorted(items: Sequence[T], sort: str) -> list[T]:
    """Items without a value come last, in either order."""
    path = sort.removeprefix("-")
    values = [(_value(item, path), item) for item in items]
    known = sorted(
        ((value, item) for value, item in values if value is not None),
        key=lambda one: one[0],
        reverse=sort.startswith("-"),
    )
    return [item for _, item in known] + [item for value, item in values if value is None]


def _value(item: Any, path: str) -> Any:
    group = getattr(item, "group", None)
    if isinstance(group, dict) and path in group:
        return group[path]
    for name in path.split("."):
        item = getattr(item, name, None)
    # `group` is a dimension, and the field that has the labels, which have no order.
    return None if isinstance(item, dict) else item


def _start(items: Sequence[Struct], cursor: str) -> int:
    place, _, mark = cursor.partition("-")
    offset = min(int(place), len(items))
    if offset and _mark(items[offset - 1]) == mark:
        return offset
    return next((index + 1 for index, item in enumerate(items) if _mark(item) == mark), offset)


def _mark(item: Struct) -> str:
    """A mark of what the item is about, whatever its figures are."""
    group = getattr(item, "group", None)
    names = [getattr(item, name, None) for name in _IDENTITY]
    identity = msgspec.json.encode([sorted(group.items()) if isinstance(group, dict) else group, *names])
    return hashlib.blake2b(identity, digest_size=8).hexdigest()
