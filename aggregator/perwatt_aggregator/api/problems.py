"""Errors of the API as RFC 9457 problem details (application/problem+json)."""

from collections.abc import Iterator
from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from perwatt_aggregator.fleet.raw_nodes import TooManyReadings
from perwatt_aggregator.prometheus.client import PrometheusFailed
from perwatt_aggregator.schema.problem import FieldProblem, Problem

MEDIA_TYPE = "application/problem+json"

_HINTS = {
    404: "Not found; /openapi.json lists the endpoints.",
    405: "Only GET and HEAD are supported.",
}


def install(app: FastAPI) -> None:
    """Make *app* answer all errors as problem details."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(TooManyReadings, _too_many_readings)
    app.add_exception_handler(PrometheusFailed, _no_readings)
    app.add_exception_handler(Exception, _internal)


def problem(status: int, detail: str, errors: tuple[FieldProblem, ...] = ()) -> Response:
    """The response for one problem."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    return Response(msgspec.json.encode(body), status, media_type=MEDIA_TYPE)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = problem(error.status_code, _HINTS.get(error.status_code, str(error.detail)))
    for name, value in (error.headers or {}).items():
        response.headers[name] = "GET, HEAD" if name.lower() == "allow" else value
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = tuple(
        FieldProblem(".".join(map(str, one["loc"][1:])), str(one["msg"])) for one in error.errors()
    )
    named = ", ".join(sorted({one.parameter for one in errors}))
    expected = " ".join(dict.fromkeys(_descriptions(request, {one.parameter for one in errors})))
    return problem(422, f"These parameters are not valid: {named}. {expected}".rstrip(), errors)


def _descriptions(request: Request, names: set[str]) -> Iterator[str]:
    """What the parameters of the endpoint mean, with their bounds."""
    dependant = getattr(request.scope.get("route"), "dependant", None)
    dependants = (dependant, *dependant.dependencies) if dependant else ()
    for parameter in (one for each in dependants for one in each.query_params):
        if parameter.alias in names and parameter.field_info.description:
            yield parameter.field_info.description


async def _too_many_readings(_: Request, error: Exception) -> Response:
    return problem(
        422, f"These parameters are not valid: window. {error}", (FieldProblem("window", str(error)),)
    )


async def _no_readings(_: Request, error: Exception) -> Response:
    return problem(503, f"There are no readings now: {error}")


async def _internal(_: Request, __: Exception) -> Response:
    # The server logs the error.
    return problem(500, "Internal error of the aggregator; its log has the details.")
