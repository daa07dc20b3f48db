"""YAML as recipes and `--set` values are written: safe, without a key written twice, its faults in one sentence.

In: text. Out: plain data.
"""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
        if key_node.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key_node.value}' stands twice", key_node.start_mark)
        seen.add(key_node.value)
    loader.flatten_mapping(node)  # anchors merged with `<<`: what is written here wins over what is merged
    return {loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse(text: str) -> Any:
    """YAML to plain data; a fault is a ValueError in one sentence with its line."""
    try:
        return _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ValueError(f"isn't valid YAML{line}: {problem}") from error
    except (ValueError, RecursionError) as error:  # a date that doesn't exist; brackets in thousands
        raise ValueError(f"isn't valid YAML: {error}") from error
