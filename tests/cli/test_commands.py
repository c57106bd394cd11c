# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

from controlplane.cli import safe_text
from controlplane.cli.command import pairs
from controlplane.cli.login_file import Login, find, save
from controlplane.cli.main import COMMANDS, tidegate
from controlplane.cli.outcome import Outcome
from controlplane.cli.service import read_definition
from tests.cli.broken_server import answering, document

COMMAND = str(Path(sys.executable).parent / "tidegate")


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
    )


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (401, Outcome.REFUSED), (403, Outcome.REFUSED), (404, Outcome.NOT_FOUND), (409, Outcome.CONFLICT),
        (422, Outcome.USAGE), (429, Outcome.SERVER), (500, Outcome.SERVER), (502, Outcome.SERVER),
    ],
)  # fmt: skip
def test_a_problem_is_shown_with_its_key_fields_and_hint_and_has_its_exit_code(
    status: int, outcome: Outcome
) -> None:
    problem = {
        "status": status, "error_key": "some_key", "detail": "what happened", "hint": "do this",
        "errors": {"variables": {"port": ["too large"]}},
    }  # fmt: skip
    with answering(document(status, problem)) as server:
        told = run("release", "show", "rel_1", TIDEGATE_URL=server.url)
    assert told.returncode == outcome
    assert "some_key: what happened" in told.stderr
    assert "variables.port: too large" in told.stderr
    assert "hint: do this" in told.stderr


def test_no_server_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    told = run("release", "list", TIDEGATE_URL=address)
    assert told.returncode == Outcome.CONNECTION
    assert address in told.stderr


def test_server_text_cannot_steer_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x9b2J\r\u202eabc"
    item = {"id": "prj_1", "name": evil, "description": "[red]not markup[/red]"}
    with answering(document(200, {"items": [item], "next": None, "total_estimate": 1})) as server:
        told = run("project", "list", TIDEGATE_URL=server.url)
    assert told.returncode == 0
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", told.stdout)
    assert "\\x1b]0;owned" in told.stdout
    assert "[red]" in told.stdout


def test_safe_text_keeps_what_is_harmless() -> None:
    assert safe_text.line("größe ✓ 日本") == "größe ✓ 日本"
    assert safe_text.line("a\nb") == "a\\x0ab"
    assert safe_text.block("a\n\tb\x1b") == "a\n    b\\x1b"


def test_json_is_the_servers_answer() -> None:
    answer = {"seq": 3, "hash": "ab"}
    with answering(document(200, answer), document(200, answer)) as server:
        for arguments in (("--json", "audit", "head"), ("audit", "head", "--json")):
            assert json.loads(run(*arguments, TIDEGATE_URL=server.url).stdout) == answer


def test_a_broken_chain_is_a_failure() -> None:
    with answering(document(200, {"is_intact": False, "events": 7, "first_break": 8})) as server:
        told = run("audit", "verify", TIDEGATE_URL=server.url)
    assert told.returncode == Outcome.RELEASE_FAILED
    assert "broken at event 8" in told.stdout


def test_a_release_that_waits_for_an_approval_ends_with_its_own_code() -> None:
    release = {
        "release_id": "rel_1",
        "lifecycle_state": "pending_approval",
        "status": "x",
        "approval_ticket": "tkt_1",
    }
    with answering(document(202, release)) as server:
        told = run("release", "apply", "prv_1", TIDEGATE_URL=server.url)
    assert told.returncode == Outcome.WAITING
    assert "tkt_1" in told.stdout


def test_a_rollback_that_takes_over_asks_for_it_and_never_of_a_preview_that_is_there() -> None:
    release = {"release_id": "rel_2", "status": "preview_failed", "service": "shop", "service_version": "1",
               "target": "edge", "stage": "development", "preview": {"preview_ref": None}}  # fmt: skip
    with answering(document(201, release), document(201, release)) as server:
        for words in (("--force-conflicts",), ()):
            told = run("release", "rollback", "rel_1", "--json", *words, TIDEGATE_URL=server.url)
            assert told.returncode == Outcome.BLOCKED, told.stderr
    assert [json.loads(body) for body in server.bodies] == [{"force_conflicts": True}, {}]
    for option in (("--force-conflicts",), ("--to", "rel_0")):
        told = run("release", "rollback", "rel_1", "--preview-ref", "pvw_1", *option, TIDEGATE_URL=server.url)
        assert told.returncode == Outcome.USAGE
        assert "leave --preview-ref out" in told.stderr


def test_help_imports_nothing_that_is_slow() -> None:
    check = (
        "import sys; from controlplane.cli.main import tidegate; tidegate.main(['--help'], standalone_mode=False);"
        "print([m for m in ('httpx', 'rich', 'sqlalchemy', 'flask', 'yaml') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert told.stdout.strip().endswith("[]")


def test_every_command_says_what_it_is_for() -> None:
    context = click.Context(tidegate)
    for name in COMMANDS:
        command = tidegate.get_command(context, name)
        assert command is not None and command.help, name
        if isinstance(command, click.Group):
            assert command.list_commands(context), name


def test_a_token_of_one_server_is_not_sent_to_another(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    file = save(environ, Login("http://one.example", 'tg_"quoted"'))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert find(environ) == Login("http://one.example", 'tg_"quoted"')
    assert find(environ, "http://two.example").token is None
    file.chmod(0o644)
    with pytest.raises(click.UsageError, match="chmod 600"):
        find(environ)


def test_variables_are_texts_unless_they_are_said_to_be_json() -> None:
    assert pairs(("a=1", "b:=1", "c=x=y"), "--var") == {"a": "1", "b": 1, "c": "x=y"}
    for word in ("a", "=1", "b:={"):
        with pytest.raises(click.BadParameter):
            pairs((word,), "--var")


def test_a_definition_names_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "service.yml"
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    file.write_text("version: '2'\nhealth_timeout: 9\n")
    assert read_definition(file) == {"version": "2", "health_timeout": 9, "template": "services: {}\n"}
    for text, message in (
        ("version: 1.10", "in quotes"),
        ("verion: '2'", "unknown members: verion"),
        ("- a", "mapping"),
        ("images: [{reference: a}]", "archive"),
        ("compose: none.yaml", "compose"),
        ("a: [", "service.yml"),
    ):
        file.write_text(text)
        with pytest.raises(click.UsageError, match=message):
            read_definition(file)


def test_init_makes_one_administrator_and_a_private_key_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = json.loads(run("init", "--home", str(home), "--json").stdout)
    assert stat.S_IMODE(Path(first["key_file"]).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert first["token"].startswith("tg_")
    keys = Path(first["key_file"]).read_bytes()
    again = run("init", "--home", str(home), "--json")
    assert again.returncode == 0
    assert "token" not in json.loads(again.stdout)
    assert Path(first["key_file"]).read_bytes() == keys
    secret = first["token"].rpartition("_")[2].encode()
    assert not [path for path in home.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    told = run("db", "upgrade", "--home", str(tmp_path), TIDEGATE_DATABSE_URL="sqlite:///x")
    assert told.returncode == Outcome.USAGE
    assert "TIDEGATE_DATABSE_URL" in told.stderr
