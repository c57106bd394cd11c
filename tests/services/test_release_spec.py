# SPDX-License-Identifier: Apache-2.0
"""What a service on a target is called on hosts and in clusters."""

from __future__ import annotations

import itertools
import re

from controlplane.services.release_spec import project_name
from controlplane.store.tables import Service, Target

COMPOSE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def named(service: str, target: str, project: str = "prj", target_id: str | None = None) -> str:
    """The name of a service on a target whose ids are their names'."""
    return project_name(
        Service(id=f"svc_{project}_{service}", name=service, project_id=project),
        Target(id=target_id or f"tgt_{project}_{target}", name=target, project_id=project),
    )


def test_it_is_the_same_for_each_release_and_can_be_read() -> None:
    assert named("shop", "production") == named("shop", "production")
    assert named("shop", "production").startswith("shop-production-")


def test_no_two_services_and_targets_share_one() -> None:
    long = "x" * 63
    names = [
        named("a", "b-c"),
        named("a-b", "c"),
        named(long, "one"),
        named(long, "two"),
        named("shop", "t"),
        named("shop", "t-blue"),
        named("shop", "t-green"),
        named("shop", "t", project="other"),
        named("shop", "t", target_id="tgt_elsewhere"),
    ]
    coloured = [f"{name}-{colour}" for name, colour in itertools.product(names, ("blue", "green"))]
    assert len({*names, *coloured}) == len(names) * 3


def test_it_and_its_colours_are_names_that_compose_and_kubernetes_take() -> None:
    for service, target in itertools.product(("a", "x" * 63, "a-" + "b" * 50), repeat=2):
        name = named(service, target)
        assert LABEL.fullmatch(name)
        assert COMPOSE.fullmatch(name)
        assert COMPOSE.fullmatch(f"{name}-green")
