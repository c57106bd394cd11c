# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from controlplane.domain.policy import Risk, read_rule, requirement
from controlplane.settings import _READERS, Settings, SettingsError, load


def test_everything_hangs_on_the_home(tmp_path: Path) -> None:
    settings = load({"TIDEGATE_HOME": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/tidegate.db"
    assert settings.key_file == tmp_path / "keys"
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.1", 8080)
    assert (settings.preview_ttl_seconds, settings.lease_seconds, settings.heartbeat_seconds) == (1800, 15, 5)
    assert settings.is_sqlite


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text('workers = 3\nlisten = "[::1]:90"\nbasic_auth = false\n')
    settings = load({"TIDEGATE_HOME": str(tmp_path), "TIDEGATE_WORKERS": "5"})
    assert settings.workers == 5
    assert (settings.listen_host, settings.listen_port) == ("::1", 90)
    assert settings.basic_auth is False


def test_every_setting_can_be_told() -> None:
    names = {entry.name for entry in fields(Settings)} - {"listen_host", "listen_port"} | {"listen"}
    assert set(_READERS) == names


def test_unknown_keys_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("worker = 3\n")
    with pytest.raises(SettingsError, match="worker"):
        load({"TIDEGATE_HOME": str(tmp_path)}, file)
    with pytest.raises(SettingsError, match="TIDEGATE_WORKER"):
        load({"TIDEGATE_WORKER": "3"})
    load({"TIDEGATE_HOME": str(tmp_path), "TIDEGATE_TOKEN": "x", "TIDEGATE_LAB_HOME": "y"})


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml"):
        load({"TIDEGATE_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "two"),
        ("WORKERS", "-1"),
        ("LEASE_SECONDS", "nan"),
        ("LEASE_SECONDS", "6"),
        ("LISTEN", "8080"),
        ("LISTEN", "x:99999"),
        ("BASIC_AUTH", "perhaps"),
        ("DATABASE_URL", "mysql://u:canary@h/d"),
        ("HOME", "relative"),
        ("LOG_LEVEL", "loud"),
        ("ARTIFACT_URL", "http://h"),
    ],
)
def test_impossible_values_are_refused_without_repeating_secrets(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"TIDEGATE_{name}": value})
    assert name.lower() in str(caught.value).lower()
    assert "canary" not in str(caught.value)


def test_the_token_is_not_shown(tmp_path: Path) -> None:
    told = {
        "TIDEGATE_HOME": str(tmp_path),
        "TIDEGATE_ARTIFACT_URL": "http://h/",
        "TIDEGATE_ARTIFACT_TOKEN": "tg_seen-by-nobody",
    }
    assert "seen-by-nobody" not in repr(load(told))


def test_folders_are_private(tmp_path: Path) -> None:
    settings = load({"TIDEGATE_HOME": str(tmp_path / "home")})
    settings.make_folders()
    for folder in (settings.home, settings.artifact_dir):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_networks_are_a_list_in_the_file_and_words_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text('cluster_address_allow = ["127.0.0.0/8", "::1/128"]\n')
    home = {"TIDEGATE_HOME": str(tmp_path)}
    assert load(home).cluster_address_allow == ("127.0.0.0/8", "::1/128")
    told = {**home, "TIDEGATE_CLUSTER_ADDRESS_ALLOW": "10.0.0.1, 169.254.0.0/16"}
    assert load(told).cluster_address_allow == ("10.0.0.1/32", "169.254.0.0/16")
    assert load({**home, "TIDEGATE_CLUSTER_ADDRESS_ALLOW": " "}).cluster_address_allow == ()
    assert load(home).cluster_allow_insecure_tls is False
    for wrong in ("localhost", "127.0.0.1/8", "10.0.0.0/33", "*"):
        with pytest.raises(SettingsError, match="CLUSTER_ADDRESS_ALLOW"):
            load({**home, "TIDEGATE_CLUSTER_ADDRESS_ALLOW": wrong})
    (tmp_path / "tidegate.toml").write_text("cluster_address_allow = 7\n")
    with pytest.raises(SettingsError, match="list of networks"):
        load(home)


DESCRIBED = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text()


def test_each_setting_is_described() -> None:
    named = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", DESCRIBED, re.MULTILINE))))
    assert named >= set(_READERS), set(_READERS) - named


def test_the_matrix_that_is_described_does_what_is_said_of_it() -> None:
    (written,) = re.findall(r"```json\n(.*?)```", DESCRIBED, re.DOTALL)
    rules = [read_rule(row) for row in json.loads(written)]

    def asked(stage: str, risk: Risk) -> int:
        found = requirement(rules, [], stage, "install", risk)
        return found.min_approvals if found.needs_approval else 0

    assert [asked(stage, Risk.LOW) for stage in ("development", "staging", "production")] == [0, 0, 2]
    assert asked("staging", Risk.HIGH) == 1
