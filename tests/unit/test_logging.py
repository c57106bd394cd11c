# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextvars
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from controlplane.logging import configure, request_id


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    configure("INFO", out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_one_object_with_its_request(stream: io.StringIO) -> None:
    # In a context of its own: another test of this process may have left a request's id in this one.
    contextvars.Context().run(_write_within_a_request)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["message"], first["level"], first["logger"]) == ("two\nlines 5", "info", "tidegate.test")
    assert (first["request_id"], first["job_id"]) == ("req_1", "job_1")
    assert datetime.fromisoformat(first["at"]).tzinfo is not None
    assert "request_id" not in second


def _write_within_a_request() -> None:
    token = request_id.set("req_1")
    logging.getLogger("tidegate.test").info("two\nlines %s", 5, extra={"job_id": "job_1"})
    request_id.reset(token)
    logging.getLogger("tidegate.test").debug("not shown")
    logging.getLogger("tidegate.test").warning("later")


def test_an_exception_is_in_its_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("tidegate.test").exception("failed")
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert "ValueError: broken" in line["exception"]
