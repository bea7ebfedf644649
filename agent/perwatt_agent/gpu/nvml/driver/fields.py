"""
Numbered fields of NVML: many facts in one driver call.

A batch reuses one array, through the binding's own function pointer: the binding's function makes a new array
in each call, which takes 12 times as long.
"""

import ctypes
import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import pynvml
from msgspec import Struct

from perwatt_agent.gpu.nvml.driver.calls import Facts, GpuCalls
from perwatt_agent.gpu.nvml.driver.errors import (
    INVALID_ARGUMENT,
    SUCCESS,
    Meaning,
    describe,
    raise_failure,
    raise_if_fatal,
)

GPU, MODULE = 0, 1  # scopes of power: the GPU alone; CPU and GPU together, on Grace
ALL_LINKS = 0xFFFF_FFFF  # scope of links: the sum over all of them


class Field(Struct, frozen=True, cache_hash=True):
    """
    One numbered field in one scope, and how its raw number becomes base units.

    `counts` is True for a counter that has alternatives: another field of the fact has another zero.
    """

    id: int
    convert: Callable[[Any], Any]
    scope: int = GPU
    counts: bool = False


# nvmlFieldValue_t: id, scope, timestamp, latency, then what counts: type of the value, code, value.
_ENTRY = "24xii"

# nvmlValueType_t -> layout of the eight bytes of the value.
_VALUES: dict[int, str] = dict(enumerate(("d", "I4x", "Q", "Q", "q", "i4x", "H6x")))
_UNKNOWN_VALUE = "Q"

Reply: TypeAlias = tuple[int, float]
"""One field's return code and its raw number."""


class FieldBatch:
    """
    One driver call for a fixed list of fields.

    A value's type mostly is that of the call before, so one layout decodes all fields at once; it is renewed
    when a type changes.
    """

    def __init__(self, fields: Iterable[Field]) -> None:
        self.fields = tuple(fields)
        self._function: Callable[..., int] | None = None
        self._array = (pynvml.c_nvmlFieldValue_t * len(self.fields))()
        for entry, field in zip(self._array, self.fields, strict=True):
            entry.fieldId, entry.scopeId = field.id, field.scope
        self._count = ctypes.c_int(len(self.fields))
        self._use_types((0,) * len(self.fields))

    def call(self, handle: Any) -> int:
        """Make the call, and return its code."""
        if self._function is None:
            try:
                self._function = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetFieldValues")
            except pynvml.NVMLError as error:
                return int(error.value)
        return self._function(handle, self._count, self._array)

    def numbers(self) -> tuple[float, ...] | None:
        """Each field's raw number, as of the latest call; None unless every field has one."""
        decoded = self._decode()
        return None if any(decoded[1::3]) or not self._types_known else decoded[2::3]

    def replies(self) -> list[Reply]:
        """
        Each field's own code and raw number, as of the latest call.

        A field of a type that is not in the table counts as absent.
        """
        decoded = self._decode()
        return [
            (code, number) if code == SUCCESS and kind in _VALUES else (code or INVALID_ARGUMENT, 0)
            for kind, code, number in zip(decoded[::3], decoded[1::3], decoded[2::3], strict=True)
        ]

    def _decode(self) -> tuple[Any, ...]:
        """Type, code and number of each field, one after another."""
        decoded = self._layout.unpack(self._array)
        if decoded[::3] != self._types:
            self._use_types(decoded[::3])
            decoded = self._layout.unpack(self._array)
        return decoded

    def _use_types(self, types: tuple[int, ...]) -> None:
        self._types = types
        self._types_known = all(kind in _VALUES for kind in types)
        self._layout = struct.Struct(
            "=" + "".join([_ENTRY + _VALUES.get(kind, _UNKNOWN_VALUE) for kind in types])
        )


class _Run(NamedTuple):
    """Fields in a row that give entries of one group; a fact on its own has no group."""

    group: str
    keys: tuple[str, ...]
    converts: tuple[Callable[[Any], Any], ...]


class FieldReader:
    """
    The facts that one GPU gives by field.

    It reads all candidates of a fact until one has given it, and from then on that one alone; a field that
    the GPU refuses is left out until *calls* are reset. The fields that failed in the latest reading are in
    `failed` of *calls*; `best` has for each fact the best field that may still give it.
    """

    best: Mapping[str, Field]

    def __init__(self, table: Mapping[str, tuple[Field, ...]], calls: GpuCalls) -> None:
        self._names = [f"field {field.id}" for fields in table.values() for field in fields]
        self._table = table
        self._calls = calls
        self._resets = calls.resets
        self._failed = calls.failed
        self._use(dict(table))

    def read(self, handle: Any) -> Facts:
        """
        The facts that came, in base units; a fact that the GPU does not give is not there.

        Raises GpuFailure when no field could be read, and GenerationEnded.
        """
        if self._resets != self._calls.resets:
            self._take_back()
        if not self.best:
            return {}  # the GPU gives none of the facts by field
        code = self._batch.call(handle)
        if code != SUCCESS:
            self._drop_all_or_raise(code)
            return {}
        for name in self._names if self._failed else ():
            self._failed.pop(name, None)
        numbers = self._batch.numbers()
        return self._facts(numbers if numbers is not None and self._is_decided else self._decide())

    def _take_back(self) -> None:
        """Read all candidates again. A fact that has its counter keeps it, or its increase would be wrong."""
        self._resets = self._calls.resets
        counted = {
            fact: fields for fact, fields in self._candidates.items() if any(field.counts for field in fields)
        }
        self._use({**self._table, **counted})

    def _drop_all_or_raise(self, code: int) -> None:
        if describe(code).meaning is not Meaning.ABSENT or code == INVALID_ARGUMENT:
            raise_failure(code, "nvmlDeviceGetFieldValues")
        self._use(dict.fromkeys(self._candidates, ()))

    def _raise_if_dead(self, replies: Mapping[Field, Reply]) -> None:
        failed = [code for code, _ in replies.values() if code != SUCCESS]
        for code in failed:
            raise_if_fatal(code, "nvmlDeviceGetFieldValues")
        transient = [code for code in failed if describe(code).meaning is Meaning.TRANSIENT]
        if transient and len(failed) == len(replies):
            raise_failure(transient[0], "nvmlDeviceGetFieldValues")

    def _decide(self) -> list[float | None]:
        """Drop candidates that are not needed; return the number of each fact, None of one that failed."""
        replies = dict(zip(self._batch.fields, self._batch.replies(), strict=True))
        self._raise_if_dead(replies)
        left = {fact: _not_refused(fields, replies) for fact, fields in self._candidates.items()}
        decided = {fact: _best_alone(fields, replies) for fact, fields in left.items()}
        if energy := decided.get("energy_joules"):
            decided["power_watts"] = _same_scope(energy, left["power_watts"], replies)
        if decided != self._candidates:
            self._use(decided)
        best = [(field, *replies[field]) for field in self.best.values()]
        self._failed.update(
            {f"field {field.id}": describe(code).word for field, code, _ in best if code != SUCCESS}
        )
        return [number if code == SUCCESS else None for _, code, number in best]

    def _facts(self, numbers: Iterable[float | None]) -> Facts:
        facts: Facts = {}
        left = iter(numbers)  # each run takes as many as it has keys
        for group, keys, converts in self._runs:
            values = {
                key: value
                for key, convert, number in zip(keys, converts, left, strict=False)
                if number is not None and (value := convert(number)) is not None
            }
            if not group:
                facts |= values
            elif values:
                facts[group] = facts.get(group, {}) | values
        return facts

    def _use(self, candidates: dict[str, tuple[Field, ...]]) -> None:
        self._candidates = candidates
        self._is_decided = all(len(fields) <= 1 for fields in candidates.values())
        self._batch = FieldBatch(field for fields in candidates.values() for field in fields)
        self.best = {fact: fields[0] for fact, fields in candidates.items() if fields}
        self._runs = []
        for group, in_a_row in groupby(self.best, lambda fact: fact.rpartition(".")[0]):
            facts = tuple(in_a_row)
            keys = tuple(fact.rpartition(".")[2] for fact in facts)
            self._runs.append(_Run(group, keys, tuple(self.best[fact].convert for fact in facts)))


def nested(facts: Facts) -> Facts:
    """Gather the facts named `group.key` in a dictionary for each group."""
    nest: Facts = {}
    for name, value in facts.items():
        group, dot, key = name.partition(".")
        if dot:
            nest.setdefault(group, {})[key] = value
        else:
            nest[name] = value
    return nest


def _not_refused(fields: tuple[Field, ...], replies: Mapping[Field, Reply]) -> tuple[Field, ...]:
    return tuple(field for field in fields if describe(replies[field][0]).meaning is not Meaning.ABSENT)


def _best_alone(fields: tuple[Field, ...], replies: Mapping[Field, Reply]) -> tuple[Field, ...]:
    """The best candidate once it has given the fact, until then all of them."""
    return fields[:1] if fields and replies[fields[0]][0] == SUCCESS else fields


def _same_scope(
    energy: tuple[Field, ...], power: tuple[Field, ...], replies: Mapping[Field, Reply]
) -> tuple[Field, ...]:
    """The candidates for power in the scope of energy, because the two are compared."""
    if len(energy) > 1:
        return power  # the scope is not known yet
    return _best_alone(tuple(f for f in power if f.scope == energy[0].scope) or power, replies)
