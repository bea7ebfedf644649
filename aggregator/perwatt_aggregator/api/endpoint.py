"""Endpoint of an answer: its operation in the document, and the parameters that it knows."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends
from fastapi.routing import APIRoute
from msgspec import Struct

from perwatt_aggregator.api import openapi

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Response]])


def operation_name(route: APIRoute) -> str:
    """The id of an operation is the name of its function."""
    return route.name


def endpoint(
    app: FastAPI,
    path: str,
    answer: type[Struct],
    parameters: Iterable[str],
    example: Struct | None = None,
    *,
    is_list: bool = False,
) -> Callable[[Handler], Handler]:
    """Serve *answer* at *path* to requests with *parameters* and no others."""
    responses = openapi.answers_with(answer, example, is_list=is_list)
    return app.get(
        path,
        tags=["answers"],
        responses=responses,
        response_class=Response,
        generate_unique_id_function=operation_name,
        dependencies=[Depends(_only(frozenset(parameters)))],
    )


def _only(names: frozenset[str]) -> Callable[[Request], Any]:
    """Reject unknown and repeated parameters: to ignore them would answer another request."""
    known = ", ".join(sorted(names))

    async def check(request: Request) -> None:
        given = [name for name, _ in request.query_params.multi_items()]
        faults = {name: f"unknown parameter; expected one of {known}" for name in given if name not in names}
        faults |= {name: "expected at most once" for name in given if given.count(name) > 1}
        if faults:
            raise RequestValidationError(
                [{"loc": ("query", name), "msg": fault} for name, fault in faults.items()]
            )

    return check
