# SPDX-License-Identifier: Apache-2.0
"""`manifests/index.yaml`: read within bounds, held to its schema, and to what a schema cannot say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..network_entry import parameters as network_entry
from .bundle_path import INDEX, is_artifact, problem
from .fault import Fault
from .steps import problems as step_problems

try:
    import yaml
except ImportError:
    yaml = None
try:
    import jsonschema
except ImportError:
    jsonschema = None

MOST_BYTES = 1024 * 1024
MOST_FAULTS = 50
SCHEMA = Path(__file__).with_name("index.schema.json")


def read(content: bytes) -> Tuple[Optional[Dict[str, Any]], List[Fault]]:
    """The index as data and what is wrong with it; None when it is not even that."""
    if yaml is None or jsonschema is None:
        return None, [_bad("", "cannot be read here: install the Python packages PyYAML and jsonschema")]
    if len(content) > MOST_BYTES:
        return None, [_bad("", f"is larger than {MOST_BYTES} bytes")]
    try:
        document = _load(content.decode("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, [_bad("", "is not the YAML it should be: " + " ".join(str(error).split())[:300])]
    if not isinstance(document, dict):
        return None, [_bad("", "is no mapping")]
    faults = _against_schema(document)
    # References are looked at only where the shape is known.
    return (None, faults) if faults else (document, _references(document))


def version(
    index: Dict[str, Any], runtime: str, wanted: Optional[str]
) -> Tuple[Optional[Dict[str, Any]], List[Fault]]:
    """The entry of a runtime's version, of the newest supported one where none is named.

    A version that is not there, or is blocked, is a fault.
    """
    known = (index["runtimes"].get(runtime) or {}).get("versions", [])
    if not wanted:
        usable = [one for one in known if one["status"] != "blocked"]
        if usable:
            return max(usable, key=lambda one: (one["status"] == "supported", _order(one["version"]))), []
        return None, [Fault("artifact_version_unsupported", INDEX, f"the bundle has no {runtime}")]
    named = ", ".join(one["version"] for one in known if one["status"] != "blocked") or "none"
    for one in known:
        if one["version"] == wanted and one["status"] != "blocked":
            return one, []
    blocked = any(one["version"] == wanted for one in known)
    why = "is blocked" if blocked else "is not in the bundle"
    return None, [
        Fault("artifact_version_unsupported", INDEX, f"{runtime} {wanted} {why}; it has: {named}"),
    ]


def _order(text: str) -> List[Tuple[bool, int, str]]:
    """What sorts versions as people do: 1.10 after 1.9."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"[.+-]", text)]


def hooks(index: Dict[str, Any]) -> Dict[str, str]:
    """Path of each hook -> the first step that needs it."""
    found: Dict[str, str] = {}
    for step in index["steps"]:
        for path in (step.get("hook"), (step.get("rollback") or {}).get("hook")):
            if path:
                found.setdefault(path, step["name"])
    return found


def schema() -> Dict[str, Any]:
    """The JSON schema that the collection carries."""
    return dict(json.loads(SCHEMA.read_text(encoding="utf-8")))


if yaml is not None:

    class _Loader(yaml.SafeLoader):
        """No aliases, with which a small file becomes a huge document, and no key twice."""

        def compose_node(self, parent: Any, at: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise yaml.constructor.ConstructorError(
                    None, None, "aliases are not allowed", self.peek_event().start_mark
                )
            return super().compose_node(parent, at)

        def construct_mapping(self, node: Any, deep: bool = False) -> Dict[Any, Any]:
            seen = set()
            for key, _value in node.value:
                if key.value.__hash__ and key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value} is there twice", key.start_mark
                    )
                seen.add(key.value if key.value.__hash__ else id(key))
            return super().construct_mapping(node, deep)


def nodes(text: str) -> Any:
    """The YAML nodes of an index's text, with their places in it. Raises yaml.YAMLError."""
    return yaml.compose(text, Loader=_Loader)


def _load(text: str) -> Any:
    # The loader is a safe one.
    return yaml.load(text, Loader=_Loader)  # noqa: S506


def _against_schema(document: Dict[str, Any]) -> List[Fault]:
    checker = jsonschema.Draft202012Validator(schema())
    faults = []
    for error in checker.iter_errors(document):
        where = ".".join(str(part) for part in error.absolute_path)
        faults.append(_bad(where, error.message[:300]))
        if len(faults) == MOST_FAULTS:
            break
    return faults


def _references(index: Dict[str, Any]) -> List[Fault]:
    """Names that are there twice, and names of things that are not there."""
    faults = _repeated("artifacts", "id", index["artifacts"]) + _repeated(
        "artifacts", "path", index["artifacts"]
    )
    faults += _repeated("steps", "name", index["steps"]) + _repeated("checks", "id", index["checks"])
    known = {one["id"] for one in index["artifacts"]}
    for number, one in enumerate(index["artifacts"]):
        why = problem(one["path"])
        if why is None and not is_artifact(one["path"]) and not one["path"].startswith("templates/"):
            why = "is in a folder that is not for artifacts"
        if why:
            faults.append(_bad(f"artifacts.{number}.path", why))
        if ("sha256" in one) != ("size" in one):
            faults.append(_bad(f"artifacts.{number}", "has one of sha256 and size without the other"))
    for runtime, told in index["runtimes"].items():
        faults += _repeated(f"runtimes.{runtime}.versions", "version", told["versions"])
        for number, one in enumerate(told["versions"]):
            faults += _unknown(f"runtimes.{runtime}.versions.{number}.artifacts", one["artifacts"], known)
    for name, feature in index.get("features", {}).items():
        faults += _unknown(f"features.{name}.artifacts", feature["artifacts"], known)
        taken = network_entry.KNOWN if name == "lvs_vip" else ()
        faults += [
            _bad(f"features.{name}.inputs", f"nothing takes {one}")
            for one in feature["inputs"]
            if one not in taken
        ]
    for number, step in enumerate(index["steps"]):
        faults += _unknown(f"steps.{number}.runtime", step["runtime"], set(index["runtimes"]))
    faults += [_bad(where, why) for where, why in step_problems(index["steps"])]
    for path in hooks(index):
        why = problem(path) or (None if path.startswith("hooks/") else "is not in hooks/")
        if why:
            faults.append(_bad("steps", f"hook {path!r} {why}"))
    return faults


def _repeated(where: str, key: str, entries: List[Dict[str, Any]]) -> List[Fault]:
    values = [one[key] for one in entries]
    return [
        _bad(where, f"{key} {one} is there twice")
        for one in sorted({v for v in values if values.count(v) > 1})
    ]


def _unknown(where: str, names: List[str], known: Any) -> List[Fault]:
    return [_bad(where, f"{name} is not in the index") for name in names if name not in known]


def _bad(where: str, why: str) -> Fault:
    return Fault("bundle_index_invalid", INDEX, f"{where}: {why}" if where else why)
