"""docs/http-api.md: every endpoint of the aggregator, from its OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

from perwatt_agent.clock import SystemClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.config import AggregatorConfig

INTRODUCTION = """# HTTP API of the aggregator

<!-- Generated from the OpenAPI document by `make docs`; do not edit. -->

The aggregator answers on port 9837. `GET /openapi.json` is the same list for programs, with the schema of
every answer. Errors are `application/problem+json` (RFC 9457) and list the allowed values. An unknown or
repeated parameter is an error. A value that is not available is null, and `reasons` say why
([validity.md](validity.md)). The [glossary](glossary.md) defines the words.
"""
TYPES = """## Types
"""


def document() -> str:
    openapi = create_app(Aggregator(AggregatorConfig(), SystemClock())).openapi()
    endpoints = [(path, operation["get"]) for path, operation in openapi["paths"].items()]
    lines = [line for path, operation in endpoints for line in _endpoint(path, operation)]
    types = [
        line for name, schema in openapi["components"]["schemas"].items() for line in _type(name, schema)
    ]
    return "\n".join([INTRODUCTION, *lines, TYPES, *types]).rstrip() + "\n"


def _endpoint(path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## GET {path}", "", operation["description"].strip(), "")
    if parameters := operation.get("parameters", []):
        yield from ("| parameter | default | meaning |", "|---|---|---|")
        yield from map(_parameter, parameters)
        yield ""
    contents = operation["responses"]["200"]["content"]
    answers = [_kind(content["schema"]) for content in contents.values() if "$ref" in content["schema"]]
    yield "Answers with " + " or ".join(answers or [f"`{media_type}`" for media_type in contents]) + "."
    yield ""


def _parameter(parameter: Mapping[str, Any]) -> str:
    default = parameter["schema"].get("default")
    examples = parameter["schema"].get("examples") or ()
    such_as = f" Such as {', '.join(f'`{example}`' for example in examples)}." if examples else ""
    shown = f"`{default}`" if default not in (None, "") else "-"
    return f"| `{parameter['name']}` | {shown} | {parameter['description']}{such_as} |"


def _type(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"### {name}", "", " ".join(schema.get("description", "").split()), "")
    yield from ("| field | type | meaning |", "|---|---|---|")
    for field, kind in schema.get("properties", {}).items():
        yield f"| `{field}` | {_kind(kind)} | {kind.get('description', '')} |"
    yield ""


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words: `number or null`, `list of EfficiencyItem`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_kind, options)))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if schema.get("type") == "object" and schema.get("additionalProperties"):
        return f"object of {_kind(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type", "any"))
