# SPDX-License-Identifier: Apache-2.0
"""What goes into a run and what comes out of it, with the real Ansible."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from controlplane.adapters.runner import supervisor
from controlplane.domain.errors import Problem
from controlplane.ports.probe import SshAccess
from controlplane.ports.runner import PlaybookRun, RunEvent, RunHost
from tests.runner.conftest import HERE, Bench, write_play


def test_events_come_in_order_without_gaps_and_carry_no_arguments(bench: Bench) -> None:
    outcome = bench.play("- ansible.builtin.command: echo hello\n- ansible.builtin.debug: {msg: second}")
    assert (outcome.status, outcome.rc, outcome.message) == ("successful", 0, "")
    assert [event.counter for event in bench.events] == list(range(1, len(bench.events) + 1))
    first, second = [event for event in bench.events if event.kind == "runner_on_ok"]
    assert (first.host, first.action, first.changed) == ("here", "ansible.builtin.command", True)
    assert (
        first.at.endswith(("Z", "+00:00")) and first.duration is not None and first.task_id != second.task_id
    )
    assert first.play == "release_hosts" and first.data is None
    assert "second" in second.stdout and "\x1b" not in second.stdout


def test_events_come_while_the_playbook_runs(bench: Bench) -> None:
    bench.play("- ansible.builtin.command: 'true'\n- ansible.builtin.command: sleep 2")
    first, last = bench.batches[0][0], bench.batches[-1][0]
    assert last - first > 1.5


def test_only_our_own_key_of_a_result_is_kept(bench: Bench) -> None:
    (bench.home / "playbooks" / "library").mkdir()
    (bench.home / "playbooks" / "library" / "tell.py").write_text(
        "#!/usr/bin/python3\nimport json\nprint(json.dumps({'changed': False, 'other': 'not kept',"
        " 'tidegate': {'a': 'x\\0y', 'n': 1}}))\n# WANT_JSON\n"
    )
    bench.play("- tell: {}")
    (told,) = [event for event in bench.events if event.kind == "runner_on_ok"]
    assert told.data == {"a": "xy", "n": 1}
    assert "not kept" not in repr(told)


def test_documents_are_read_by_path_and_results_by_name(bench: Bench) -> None:
    outcome = bench.play(
        "- ansible.builtin.set_fact: {spec: \"{{ lookup('ansible.builtin.file', release_spec_file) | from_json }}\"}\n"
        "- ansible.builtin.copy:\n"
        '    dest: "{{ spec.result_dir }}/{{ inventory_hostname }}.preview.json"\n'
        "    content: \"{{ {'found': spec.service, 'extra': extra} | to_json }}\"\n",
        documents={"release_spec_file": {"service": "shop"}},
        extra_vars={"extra": "x"},
    )
    assert outcome.results == {"here.preview": {"found": "shop", "extra": "x"}}
    assert bench.left() == []


def test_what_a_document_says_is_never_evaluated(bench: Bench) -> None:
    hostile = "{{ lookup('ansible.builtin.pipe', 'touch %s') }}" % (bench.home / "evaluated")
    outcome = bench.play(
        "- ansible.builtin.command:\n    argv: [cp, '{{ release_spec_file }}', '{{ playbook_dir }}/seen.json']",
        documents={"release_spec_file": {"variables": {"a": hostile}}},
    )
    assert outcome.status == "successful"
    assert "lookup" in (bench.home / "playbooks" / "seen.json").read_text()
    assert not (bench.home / "evaluated").exists()


@pytest.mark.parametrize("name", ["{{ 1 + 1 }}", "-oProxyCommand=id", "a b", "a\n[all]", "", "a/../b"])
def test_a_host_is_not_named_with_what_ansible_or_ssh_would_evaluate(bench: Bench, name: str) -> None:
    write_play(bench.home, "- ansible.builtin.debug:")
    for host in (
        RunHost(name, HERE),
        RunHost("a", SshAccess(name, 22, "root", host_key=HERE.host_key)),
        RunHost("a", SshAccess("h", 22, name, host_key=HERE.host_key)),
    ):
        if name == "a/../b" or host.access.address != "h" or name:
            with pytest.raises(Problem, match="validation_error"):
                bench.run("play.yml", hosts=(host,))
    assert bench.events == [] and bench.left() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "could not be found"),
        ("- hosts: all\n  tasks: [\n", "play.yml"),
        ("- hosts: all\n  tasks: [{no_such_module_here: {}}]\n", "no_such_module_here"),
        (
            "- hosts: nobody_is_called_so\n  tasks: [{ansible.builtin.debug: {msg: x}}]\n",
            "did nothing on any host",
        ),
    ],
    ids=["missing", "syntax", "module", "pattern"],
)
def test_ansible_s_own_errors_are_errors_with_a_message(bench: Bench, text: str | None, said: str) -> None:
    if text is not None:
        (bench.home / "playbooks" / "play.yml").write_text(text)
    outcome = bench.run("play.yml")
    assert outcome.status == "error"
    assert said.lower() in outcome.message.lower()


def test_a_task_that_fails_is_a_failed_run(bench: Bench) -> None:
    outcome = bench.play("- ansible.builtin.command: 'false'")
    assert (outcome.status, outcome.rc) == ("failed", 2)
    assert [event.host for event in bench.events if event.failed] == ["here"]


def test_a_task_whose_failure_is_ignored_did_not_fail(bench: Bench) -> None:
    outcome = bench.play("- ansible.builtin.command: 'false'\n  ignore_errors: true")
    assert outcome.status == "successful"
    assert [(event.failed, event.ignored) for event in bench.events if event.kind == "runner_on_failed"] == [
        (False, True)
    ]


def test_silence_is_not_an_end(bench: Bench) -> None:
    seconds = supervisor.LOOK_SECONDS * 12
    outcome = bench.play(f"- ansible.builtin.command: sleep {seconds}")
    assert outcome.status == "successful"


def test_a_result_too_big_for_an_event_is_in_the_result_file(bench: Bench) -> None:
    outcome = bench.play(
        "- ansible.builtin.set_fact: {big: \"{{ 'x' * 800000 }}\"}\n"
        "- ansible.builtin.copy:\n"
        "    dest: \"{{ (lookup('ansible.builtin.file', release_spec_file)"
        ' | from_json).result_dir }}/here.apply.json"\n'
        "    content: \"{{ {'big': big} | to_json }}\"\n",
        documents={"release_spec_file": {}},
    )
    assert outcome.status == "successful"
    assert len(outcome.results["here.apply"]["big"]) == 800_000


def test_odd_bytes_pass(bench: Bench) -> None:
    outcome = bench.play(
        "- ansible.builtin.command: printf 'a\\000b c\\360\\237\\230\\200'\n"
        "  register: odd\n- ansible.builtin.debug: {var: odd.stdout}"
    )
    assert outcome.status == "successful"
    shown = "".join(event.stdout for event in bench.events)
    assert "\0" not in shown and "c\N{GRINNING FACE}" in shown


def test_two_runs_at_once_do_not_mix(bench: Bench) -> None:
    for name in ("a", "b"):
        write_play(bench.home, f"- ansible.builtin.debug: {{msg: only-{name}}}\n" * 5, f"{name}.yml")
    seen: dict[str, list[RunEvent]] = {"a": [], "b": []}

    def run(name: str) -> None:
        run = PlaybookRun(name, f"{name}.yml", (RunHost(name, HERE),))
        assert bench.runner.run(run, seen[name].extend, lambda: False).status == "successful"

    threads = [threading.Thread(target=run, args=(name,)) for name in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, events in seen.items():
        assert [event.counter for event in events] == list(range(1, len(events) + 1))
        assert {event.host for event in events} == {None, name}
        assert sum(f"only-{name}" in event.stdout for event in events) == 5


def test_a_slow_reader_slows_the_run_and_loses_nothing(bench: Bench) -> None:
    write_play(
        bench.home, '- ansible.builtin.debug: {msg: "{{ \'x\' * 20000 }}"}\n  loop: "{{ range(50) | list }}"'
    )
    events: list[RunEvent] = []

    def take(batch: Sequence[RunEvent]) -> None:
        time.sleep(0.1)
        events.extend(batch)

    outcome = bench.runner.run(PlaybookRun("j", "play.yml", (RunHost("here", HERE),)), take, lambda: False)
    assert outcome.status == "successful"
    assert len([event for event in events if event.kind == "runner_item_on_ok"]) == 50


def test_what_the_reader_raises_ends_the_run(bench: Bench) -> None:
    write_play(bench.home, "- ansible.builtin.command: sleep 60")

    def take(batch: Sequence[RunEvent]) -> None:
        raise RuntimeError("the lease is lost")

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="lease"):
        bench.runner.run(PlaybookRun("j", "play.yml", (RunHost("here", HERE),)), take, lambda: False)
    assert time.monotonic() - began < 15
    assert bench.left() == []
