# SPDX-License-Identifier: Apache-2.0
"""What YAML templates need before their nodes become data."""

from __future__ import annotations

try:
    import yaml
except ImportError:  # hosts have none, and render nothing
    yaml = None  # type: ignore[assignment]


def bare(node: yaml.Node) -> yaml.Node:
    """`{{ name }}` without quotes is a mapping in a mapping to YAML: make it the scalar that was meant."""
    if not (isinstance(node, yaml.MappingNode) and node.flow_style and len(node.value) == 1):
        return node
    inner = node.value[0][0]
    if not (isinstance(inner, yaml.MappingNode) and inner.flow_style and len(inner.value) == 1):
        return node
    name = inner.value[0][0]
    if not isinstance(name, yaml.ScalarNode):
        return node
    return yaml.ScalarNode("tag:yaml.org,2002:str", "{{ %s }}" % name.value, node.start_mark, node.end_mark)
