"""OpenAPI document: FastAPI's paths and parameters, with the schemas of the answers' structs."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from perwatt_aggregator.api.problems import MEDIA_TYPE
from perwatt_aggregator.schema.capacity import Capacity
from perwatt_aggregator.schema.compute import Compute
from perwatt_aggregator.schema.discovery import PrometheusTargets
from perwatt_aggregator.schema.efficiency import Efficiency
from perwatt_aggregator.schema.events import Events
from perwatt_aggregator.schema.facility import Facilities
from perwatt_aggregator.schema.history import History
from perwatt_aggregator.schema.inventory import Gpus, Nodes, Workloads
from perwatt_aggregator.schema.ledger import Ledger
from perwatt_aggregator.schema.problem import Problem

_REF = "#/components/schemas/{name}"
_ANSWERS = (
    Efficiency,
    Facilities,
    Ledger,
    Compute,
    Nodes,
    Gpus,
    Workloads,
    Events,
    Capacity,
    History,
    PrometheusTargets,
    Problem,
)
_PROBLEM = {"schema": {"$ref": _REF.format(name="Problem")}}

Responses = dict[int | str, dict[str, Any]]

UNCHANGED: Responses = {304: {"description": "The client has this answer already (`If-None-Match`)."}}
PROBLEMS: Responses = {
    405: {"description": "Only GET and HEAD are supported.", "content": {MEDIA_TYPE: _PROBLEM}},
    422: {"description": "A parameter is not valid.", "content": {MEDIA_TYPE: _PROBLEM}},
    500: {"description": "Internal error of the aggregator.", "content": {MEDIA_TYPE: _PROBLEM}},
    "default": {"description": "Any other error.", "content": {MEDIA_TYPE: _PROBLEM}},
}


def answers_with(answer: type[msgspec.Struct], example: object = None, *, is_list: bool = False) -> Responses:
    """The responses of an operation with the body *answer*, or a list of them."""
    schema: dict[str, Any] = {"$ref": _REF.format(name=answer.__name__)}
    content: dict[str, Any] = {"schema": {"type": "array", "items": schema} if is_list else schema}
    if example is not None:
        content["example"] = msgspec.to_builtins(example)
    summary = (answer.__doc__ or "").strip()
    return {200: {"description": summary, "content": {"application/json": content}}, **UNCHANGED, **PROBLEMS}


def answers_text(description: str, *media_types: str) -> Responses:
    """The responses of an operation with a text body."""
    content = {media_type: {"schema": {"type": "string"}} for media_type in media_types}
    return {200: {"description": description, "content": content}, **PROBLEMS}


def install(app: FastAPI) -> None:
    """Make *app* serve a document with the schemas of the answers."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            _, schemas = msgspec.json.schema_components(_ANSWERS, ref_template=_REF)
            found["components"] = {"schemas": schemas}
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend the document
