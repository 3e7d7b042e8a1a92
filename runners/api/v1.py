"""The API, and its description, which is generated from the operations."""

from __future__ import annotations

from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from runners.api import entries, passings, races, results
from runners.api.access import KeyInHeader
from runners.api.problems import CONTENT_TYPE, ProblemBody, add_handlers
from runners.views.policy import read_only

DESCRIPTION = """For registration systems, timing companies and clubs: races, courses,
waves, checkpoints, entries with tokens, hand splits and results. docs/api.md
introduces it. Times are in ISO 8601 with an offset, distances in metres."""


class Api(NinjaAPI):
    """Names operations like their functions, and describes the errors of each."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        schemas = schema["components"]["schemas"]
        problem = ProblemBody.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        schemas |= problem.pop("$defs") | {"Problem": problem}
        body = {"schema": {"$ref": "#/components/schemas/Problem"}}
        answer = {"description": "An error.", "content": {CONTENT_TYPE: body}}
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"]["default"] = answer
        return schema


api = Api(
    title="Spectate for organisers",
    version="1",
    description=DESCRIPTION,
    urls_namespace="api-1",
    # Its page would load scripts of a different host.
    docs_url=None,
    docs_decorator=read_only,
    auth=KeyInHeader(),
)
for resource in (races, entries, passings, results):
    api.add_router("", resource.router)
add_handlers(api)
