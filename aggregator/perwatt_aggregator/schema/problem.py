"""Schema of errors: RFC 9457 problem details."""

from typing import Annotated

from msgspec import Meta, Struct


class FieldProblem(Struct, frozen=True):
    """One parameter, and what is wrong with it."""

    parameter: str
    detail: str


class Problem(Struct, frozen=True, omit_defaults=True):
    """What went wrong, as RFC 9457 says it."""

    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    type: str = "about:blank"
    errors: tuple[FieldProblem, ...] = ()
