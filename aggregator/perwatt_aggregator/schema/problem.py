"""Schema of errors: RFC 9457 problem details."""

from typing import Annotated

from msgspec import Meta, Struct


class FieldProblem(Struct, frozen=True):
    """One parameter, and its error."""

    parameter: str
    detail: str


class Problem(Struct, frozen=True, omit_defaults=True):
    """One error, in the form of RFC 9457."""

    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    type: str = "about:blank"
    errors: tuple[FieldProblem, ...] = ()
