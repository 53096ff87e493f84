"""Finds faults of Argo's objects without a cluster: schema, CRD, and references among templates."""

import json
import re
from pathlib import Path

import yaml

SHARED = Path(__file__).resolve().parents[3] / "shared" / "argo"
SCHEMA = SHARED / "workflow-schema-v4.1.2.json"
CRD = SHARED / "workflow-crd-v4.1.2.yaml"

KINDS = (
    "container", "steps", "dag", "resource", "script", "containerSet", "suspend", "data", "http",
)  # fmt: skip
TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
WORDS = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_][\w-]*)*")
FUNCTIONS = {
    "asInt", "int", "ceil", "min", "count", "fromJSON", "toJson", "replace", "string", "retries",
}  # fmt: skip
GLOBALS = {"workflow.name", "workflow.namespace", "workflow.uid"}
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
    "number": (int, float),
}  # fmt: skip


def schema_faults(document):
    """Walk over the JSON schema: unknown keys, required keys, types, constants."""
    definitions = json.loads(SCHEMA.read_text())["definitions"]
    name = f"io.argoproj.workflow.v1alpha1.{document['kind']}"
    return list(_walk(document, {"$ref": f"#/definitions/{name}"}, definitions, ""))


def _walk(value, schema, definitions, where):
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type")
    if "const" in schema and value != schema["const"]:
        yield f"{where}: must be {schema['const']!r}, got {value!r}"
    if kind and not _is(value, kind):
        yield f"{where}: must be {kind}, got {value!r}"
        return
    if kind == "array":
        for number, item in enumerate(value):
            yield from _walk(item, schema["items"], definitions, f"{where}[{number}]")
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        more = schema.get("additionalProperties")
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{where}: lacks {key}"
        for key, item in value.items():
            if key in known:
                yield from _walk(item, known[key], definitions, f"{where}.{key}")
            elif isinstance(more, dict):
                yield from _walk(item, more, definitions, f"{where}.{key}")
            elif known or more is False:
                yield f"{where}: no such key {key}"


def _is(value, kind):
    if kind in {"integer", "number"} and isinstance(value, bool):
        return False
    return isinstance(value, TYPES[kind])


def load_crd():
    """Return the schema of the custom resource (2.8 MB of YAML)."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with CRD.open() as stream:
        crd = yaml.load(stream, Loader=loader)
    versions = crd["spec"]["versions"]
    return next(v for v in versions if v["name"] == "v1alpha1")["schema"]["openAPIV3Schema"]


def crd_faults(document, schema):
    """Walk over the CRD: unknown keys, required keys, types, maxItems, patterns, lengths."""
    return [
        *_walk_crd(document["spec"], schema["properties"]["spec"], "spec"),
        *_rules(document["spec"]),
    ]


def _walk_crd(value, schema, where):
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or isinstance(value, bool):
            yield f"{where}: must be an integer or a string, got {value!r}"
        pattern = schema.get("pattern")
        if pattern and isinstance(value, str) and not re.search(pattern, value):
            yield f"{where}: must match {pattern}, got {value!r}"
        return
    kind = schema.get("type")
    if kind and not _is(value, kind):
        yield f"{where}: must be {kind}, got {value!r}"
        return
    if kind == "array":
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{where}: at most {schema['maxItems']} items, got {len(value)}"
        for number, item in enumerate(value):
            yield from _walk_crd(item, schema["items"], f"{where}[{number}]")
    elif kind == "object":
        known, more = schema.get("properties", {}), schema.get("additionalProperties")
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{where}: lacks {key}"
        for key, item in value.items():
            if key in known:
                yield from _walk_crd(item, known[key], f"{where}.{key}")
            elif isinstance(more, dict):
                yield from _walk_crd(item, more, f"{where}.{key}")
            elif not schema.get("x-kubernetes-preserve-unknown-fields"):
                yield f"{where}: no such key {key}"
    elif kind == "string":
        if len(value) > schema.get("maxLength", len(value)):
            yield f"{where}: at most {schema['maxLength']} characters, got {len(value)}"
        if len(value) < schema.get("minLength", 0):
            yield f"{where}: at least {schema['minLength']} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{where}: must match {schema['pattern']}, got {value!r}"
        if "enum" in schema and value not in schema["enum"]:
            yield f"{where}: must be one of {schema['enum']}, got {value!r}"


def _rules(spec):
    """Check what the CRD says as rules between fields."""
    for template in spec.get("templates", ()):
        name = template["name"]
        found = [kind for kind in KINDS if kind in template]
        if len(found) != 1:
            yield f"template {name}: must have one type, got {found}"
        if {"steps", "dag"} & set(found):
            for key in ("timeout", "activeDeadlineSeconds", "pendingTimeout"):
                if key in template:
                    yield f"template {name}: {key} is for pods"
        for step in _steps(template):
            sequence = step.get("withSequence")
            if sequence is not None and ("count" in sequence) == ("end" in sequence):
                yield f"template {name}, step {step['name']}: count or end, not both"


def _steps(template):
    return [step for row in template.get("steps", ()) for step in row]


def reference_faults(document):
    """Say what is named and not there: templates, parameters, volumes, variables of expressions."""
    spec = document["spec"]
    templates = {template["name"]: template for template in spec.get("templates", ())}
    if len(templates) < len(spec.get("templates", ())):
        yield "two templates have one name"
    if not spec.get("workflowTemplateRef") and spec.get("entrypoint") not in templates:
        yield f"entrypoint {spec.get('entrypoint')} is no template"
    told = {p["name"] for p in spec.get("arguments", {}).get("parameters", ())}
    exported = {
        p["globalName"]
        for template in templates.values()
        for p in template.get("outputs", {}).get("parameters", ())
        if "globalName" in p
    }
    common = (
        GLOBALS
        | {f"workflow.parameters.{name}" for name in told}
        | {f"workflow.outputs.parameters.{name}" for name in exported}
    )
    for template in templates.values():
        yield from _template_faults(template, templates, common)


def _template_faults(template, templates, common):
    name = template["name"]
    inputs = template.get("inputs", {})
    own = common | {f"inputs.parameters.{p['name']}" for p in inputs.get("parameters", ())}
    volumes = {volume["name"] for volume in template.get("volumes", ())}
    for mount in template.get("container", {}).get("volumeMounts", ()):
        if mount["name"] not in volumes:
            yield f"template {name}: no volume {mount['name']}"
    for side in ("inputs", "outputs"):
        paths = [one["path"] for one in template.get(side, {}).get("artifacts", ())]
        if len(set(paths)) < len(paths):
            yield f"template {name}: two artifacts of {side} have one path"
    before = set()
    for row in template.get("steps", ()):
        for step in row:
            yield from _step_faults(name, step, templates, own | before)
        for step in row:
            outputs = templates.get(step.get("template"), {}).get("outputs", {})
            before |= {
                f"steps.{step['name']}.outputs.parameters.{p['name']}"
                for p in outputs.get("parameters", ())
            }
    rest = {key: value for key, value in template.items() if key != "steps"}
    # names of retries exist only where there are retries
    late = {"retries"} if "retryStrategy" in template else set()
    for where, text in strings(rest):
        yield from _unresolved(f"template {name}: {where}", text, own | late)


def _step_faults(name, step, templates, known):
    where = f"template {name}, step {step['name']}"
    callee = templates.get(step.get("template"))
    if callee is None:
        yield f"{where}: no template {step.get('template')}"
        return
    given = {p["name"] for p in step.get("arguments", {}).get("parameters", ())}
    wanted = {p["name"] for p in callee.get("inputs", {}).get("parameters", ())}
    if given != wanted:
        yield f"{where}: gives {sorted(given)}, {callee['name']} takes {sorted(wanted)}"
    for place, text in strings({k: v for k, v in step.items() if k != "withSequence"}):
        item = {"item"} if "withSequence" in step else set()
        yield from _unresolved(f"{where}: {place}", text, known | item)
    for place, text in strings(step.get("withSequence", {})):
        yield from _unresolved(f"{where}: {place}", text, known)


def strings(value, where=""):
    """Yield all texts of a document and where they are."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, f"{where}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from strings(item, f"{where}[{number}]")


def _unresolved(where, text, known):
    if text.count("{{") != len(TAG.findall(text)):
        yield f"{where}: a reference does not end in {text!r}"
    for tag in TAG.findall(text):
        if not tag.startswith("="):
            if tag.strip() not in known:
                yield f"{where}: {{{{{tag}}}}} resolves to nothing"
            continue
        bare = re.sub(r"'(?:\\.|[^'\\])*'", "''", tag[1:])
        for word in WORDS.findall(bare):
            # what follows `)` is a key of a value: `fromJSON(…).simulate`
            if re.search(rf"\)\.{re.escape(word)}\b", bare):
                continue
            if word in FUNCTIONS and (word != "retries" or "retries" in known):
                continue
            if word not in known:
                yield f"{where}: {word} of an expression resolves to nothing"
