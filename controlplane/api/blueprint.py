# SPDX-License-Identifier: Apache-2.0
"""The blueprint of every resource: strict parsing, and each answer documented, problems included."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import flask_smorest
from flask_smorest.utils import prepare_response

from controlplane.api.auth import ANYBODY, PUBLIC
from controlplane.api.parser import StrictParser
from controlplane.api.problem import MEDIA_TYPE
from controlplane.api.schema import ProblemSchema

_ALWAYS = (422,)
_GUARDED = (401, 403, 429)
_WITH_BODY = (400, 413, 415)
_CHANGING = (409,)


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest's Api, with problem documents for every error. The handlers are those of `api.problem`."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        pass

    def _register_responses(self) -> None:
        described = [(status.name, status.phrase) for status in HTTPStatus if status >= 400]
        for name, phrase in [*described, ("DEFAULT_ERROR", "Any other problem")]:
            response = {"description": phrase, "schema": ProblemSchema}
            prepare_response(response, self.spec, MEDIA_TYPE)
            self.spec.components.response(name, response, lazy=True)


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A resource's routes. Order of decorators: route, requires, idempotent, arguments, response."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, name: str, import_name: str, **options: Any) -> None:
        super().__init__(name, import_name, **options)
        self._prepare_doc_cbks.append(self._document_access)

    def _store_endpoint_docs(
        self, endpoint: str, obj: Any, parameters: Any, tags: Any, **options: Any
    ) -> None:
        """Name each operation, for those who make clients from the document."""
        super()._store_endpoint_docs(endpoint, obj, parameters, tags, **options)
        methods = {name: info for name, info in self._docs[endpoint].items() if name != "parameters"}
        for method, info in methods.items():
            name = endpoint if len(methods) == 1 else f"{method}_{endpoint}"
            info.setdefault("manual_doc", {}).setdefault("operationId", name)

    @staticmethod
    def _document_access(
        doc: dict[str, Any], doc_info: dict[str, Any], *, method: str, **_: Any
    ) -> dict[str, Any]:
        """Say who may call it, and which problems it answers with."""
        declared = doc_info.get("access", PUBLIC)
        codes = list(_ALWAYS)
        if declared == PUBLIC:
            doc["security"] = []
        else:
            codes += [*_GUARDED, 404]
        if method in ("post", "put", "patch"):
            codes += _WITH_BODY
        if method != "get":
            codes += _CHANGING
        if declared not in (PUBLIC, ANYBODY):
            doc["x-permission"] = declared
        doc.setdefault("parameters", []).extend(doc_info.get("headers", []))
        responses = doc.setdefault("responses", {})
        known = {str(code) for code in responses}
        responses.update({str(code): HTTPStatus(code).name for code in codes if str(code) not in known})
        return doc
