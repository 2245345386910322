"""Write configs/schema.json, by which a YAML editor completes and checks keys: `make schema`.

It is the schema of a job, loosened to what a file may be that is only part of one: no key is required, any value may be
null, `???` or hold a `${...}`, and Hydra's own keys are there.
"""

import json
from pathlib import Path
from typing import Any

from aetransfer.config.schema import Job

PATH = Path(__file__).parents[1] / "configs" / "schema.json"
OPEN = {"type": ["string", "null"], "pattern": r"^\?\?\?$|\$\{"}
# What pydantic writes of a bound that stands behind a validator, in JSON Schema's words.
BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a config file that is merged over the whole config."""
    job = _loosened(Job.model_json_schema())
    job["properties"] |= {"defaults": {"type": "array"}, "hydra": {"type": "object"}}
    job["$defs"]["Data"]["properties"]["labels_per_class"]["anyOf"].append({"const": "all"})
    job["$defs"]["Open"] = OPEN
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **job}


def _loosened(node: dict[str, Any]) -> dict[str, Any]:
    kept = {BOUNDS.get(key, key): value for key, value in node.items() if key not in ("required", "title")}
    for key in ("properties", "$defs"):
        if key in kept:
            loosened = {name: _loosened(each) for name, each in kept[key].items()}
            kept[key] = {name: _or_open(each) for name, each in loosened.items()} if key == "properties" else loosened
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = _or_open(_loosened(kept[key]))
    # Alternatives without what they require are no longer apart.
    for key in ("anyOf", "oneOf"):
        if key in kept:
            kept["anyOf"] = [_loosened(each) for each in kept.pop(key)]
    return kept


def _or_open(node: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {key: node.pop(key) for key in ("description", "default") if key in node}
    choices = node["anyOf"] if set(node) == {"anyOf"} else [node]
    return {**about, "anyOf": [*choices, {"$ref": "#/$defs/Open"}]}


if __name__ == "__main__":
    PATH.write_text(json.dumps(schema(), indent=1) + "\n")
