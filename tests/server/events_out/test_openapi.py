"""The description of the interface: valid, complete, and true to the routes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tlog_server.openapi import DOCUMENT

SPECIFICATION: dict[str, Any] = json.loads(DOCUMENT)
METHODS = ("get", "post", "put", "delete", "patch")
PAGES = frozenset({"pages", "search_pages", "check_pages", "static_files"})
"""Blueprints of what people look at, which the document leaves out."""

OPERATIONS = [
    (path, method, operation)
    for path, operations in SPECIFICATION["paths"].items()
    for method, operation in operations.items()
    if method in METHODS
]
NAMES = [operation["operationId"] for _, _, operation in OPERATIONS]


def resolved(value: Any) -> Any:
    """What a reference leads to, or the value itself."""
    while isinstance(value, dict) and "$ref" in value:
        parts = value["$ref"].removeprefix("#/").split("/")
        value = SPECIFICATION
        for part in parts:
            value = value[part]
    return value


def validator(schema: Any) -> Draft202012Validator:
    """A validator of a schema of the document."""
    registry: Registry[Any] = Registry().with_resource(
        "urn:document", Resource.from_contents({"$schema": Draft202012Validator.META_SCHEMA["$id"], **SPECIFICATION})
    )
    rebased = json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))
    return Draft202012Validator(rebased, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)


def shape(path: str) -> str:
    """A path, or a rule of the application, without the names of what varies in it."""
    return re.sub(r"\{[^}]*\}|<[^>]*>", "{}", path)


def nested(value: Any) -> Iterator[Any]:
    """Every part of a value."""
    yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from nested(item)


def test_every_route_is_described_and_every_description_has_a_route(client: FlaskClient) -> None:
    """Paths and methods agree in both directions; HEAD goes with GET, and pages are left out."""
    described = {(shape(path), method.upper()) for path, method, _ in OPERATIONS}
    routed = {
        (shape(str(rule)), method)
        for rule in client.application.url_map.iter_rules()
        if rule.endpoint.split(".")[0] not in PAGES
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == routed


@pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=[item[2]["operationId"] for item in OPERATIONS]
)
def test_every_parameter_is_described(
    client: FlaskClient, bearer: dict[str, str], path: str, method: str, operation: dict[str, Any]
) -> None:
    """What a handler takes, as it says when it gets something else, is what is described; paths name theirs."""
    parameters = [resolved(parameter) for parameter in operation.get("parameters", [])]
    in_path = {parameter["name"]: parameter["example"] for parameter in parameters if parameter["in"] == "path"}
    assert set(in_path) == set(re.findall(r"\{([^}]*)\}", path))
    assert all(parameter["required"] for parameter in parameters if parameter["in"] == "path")
    url = path.format_map(in_path)
    sent: dict[str, Any] = {"data": "{}", "content_type": "application/json"} if "requestBody" in operation else {}
    answer = client.open(f"{url}?no-such=1", method=method.upper(), headers=bearer, **sent)
    fields = answer.get_json(force=True)
    detail = fields["message"].removeprefix("query: ") if "message" in fields else fields["detail"]
    match = re.fullmatch(
        r"'no-such' is no parameter of this resource, which takes (?:no parameters|(.*) only)\.", detail
    )
    assert match is not None, detail
    taken = set(match[1].split(", ")) if match[1] else set()
    described = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    assert taken == described


def test_the_document_is_served(client: FlaskClient) -> None:
    """As it is in the file, with a media type, and nothing in it leads elsewhere."""
    answer = client.get("/openapi.json")
    assert answer.get_json() == SPECIFICATION
    assert answer.headers["Content-Type"] == "application/json"
    assert SPECIFICATION["openapi"] == "3.1.0"
    references = [part["$ref"] for part in nested(SPECIFICATION) if isinstance(part, dict) and "$ref" in part]
    assert all(resolved({"$ref": reference}) is not None for reference in references)
    used = {reference.removeprefix("#/components/") for reference in references}
    defined = {
        f"{kind}/{name}"
        for kind, members in SPECIFICATION["components"].items()
        if kind != "securitySchemes"
        for name in members
    }
    assert used == defined


def test_examples_are_valid() -> None:
    """Every schema is one, and every example is what its schema says."""
    count = 0
    for part in nested(SPECIFICATION["paths"] | SPECIFICATION["components"]):
        if not isinstance(part, dict) or "schema" not in part:
            continue
        Draft202012Validator.check_schema(part["schema"] if isinstance(part["schema"], dict) else {})
        if "example" in part:
            validator(part["schema"]).validate(part["example"])
            count += 1
    assert count > 20


def test_operations_have_names_of_their_own() -> None:
    """Each operation has an id, a tag that is explained, and says what it does."""
    assert len(NAMES) == len(set(NAMES))
    tags = {tag["name"] for tag in SPECIFICATION["tags"]}
    assert {tag for _, _, operation in OPERATIONS for tag in operation["tags"]} == tags
    assert all(operation["summary"].endswith(".") for _, _, operation in OPERATIONS)


def test_answers_are_those_described(client: FlaskClient) -> None:
    """The document can be wrong: an answer with a field too many, or one too few, is not what it describes."""
    schema = SPECIFICATION["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    page = client.get("/api/v1/events?partition=users&limit=2").get_json()
    check = validator(schema)
    assert check.is_valid(page)
    assert not check.is_valid({**page, "more": 1})
    assert not check.is_valid({name: value for name, value in page.items() if name != "coverage"})
    assert not check.is_valid({**page, "events": [{**page["events"][0], "index": -1}]})
