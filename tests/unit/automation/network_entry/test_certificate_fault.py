# SPDX-License-Identifier: Apache-2.0
"""Whether a certificate names the VIP: a server that is only slow is asked again, and silence is no other name."""

from __future__ import annotations

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import host_facts


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_facts, "_PAUSE_SECONDS", 0.0)


def test_a_slow_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[OSError | str] = [
        TimeoutError("the handshake timed out"),
        ConnectionResetError("reset"),
        "",
    ]

    def named(*_asked: object) -> str:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(host_facts, "_named", named)
    assert host_facts.certificate_fault("192.0.2.10", 6443, "192.0.2.100") == ""
    assert answers == []


def test_what_it_shows_is_believed_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(host_facts, "_named", lambda *one: asked.append(one) or host_facts.UNNAMED)
    assert host_facts.certificate_fault("192.0.2.10", 6443, "192.0.2.100") == host_facts.UNNAMED
    assert len(asked) == 1


def test_nobody_there_is_said_so() -> None:
    assert host_facts.certificate_fault("127.0.0.1", 1, "192.0.2.100").startswith("no TLS at 127.0.0.1:1: ")
