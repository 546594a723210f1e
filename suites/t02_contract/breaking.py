"""What of a new OpenAPI document breaks the clients of an old one.

One relation decides: every value of the narrow schema must fit the wide one. For what clients send, the old schema is
the narrow one; for what they are sent, the new one is. Fields that are added to an answer are no break: clients are
told to pass over what they do not know.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
Document = Mapping[str, Any]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_SAME = ("format", "pattern", "multipleOf", "uniqueItems")
_DEPTH = 30


def breaking_changes(old: Document, new: Document) -> list[str]:
    """Each change that breaks a client, one line each: where, what; none if the new document keeps all promises."""
    found = []
    for path, item in old["paths"].items():
        for method in (method for method in METHODS if method in item):
            name = f"{method.upper()} {path}"
            after = new["paths"].get(path, {}).get(method)
            if after is None:
                found.append(f"{name}: the operation is gone")
                continue
            changes = _Operation(old, new).changes(item[method], after)
            found += [f"{name}: {change}" for change in changes]
    return sorted(set(found))


class _Operation:
    """Compares one operation of two documents."""

    def __init__(self, old: Document, new: Document) -> None:
        self._old, self._new = old, new

    def changes(self, old: Schema, new: Schema) -> Iterator[str]:
        yield from self._security(old, new)
        yield from self._parameters(old, new)
        yield from self._body(old.get("requestBody"), new.get("requestBody"))
        for status, answer in old["responses"].items():
            if status not in new["responses"]:
                yield f"the status {status} is gone"
                continue
            after = new["responses"][status]
            for kind, media in answer.get("content", {}).items():
                if kind not in after.get("content", {}):
                    yield f"{status}: the media type {kind} is gone"
                    continue
                wide, narrow = media.get("schema", {}), after["content"][kind].get("schema", {})
                fits = _Fit(self._old, self._new, fields_may_be_added=True)
                yield from (f"{status}: {misfit}" for misfit in fits.misfits(wide, narrow, "answer"))

    def _security(self, old: Schema, new: Schema) -> Iterator[str]:
        before, after = (
            [frozenset(need) for need in operation.get("security", document.get("security", [])) or [{}]]
            for operation, document in ((old, self._old), (new, self._new))
        )
        if not all(any(need <= had for need in after) for had in before):
            yield "credentials are asked for that were not needed"

    def _parameters(self, old: Schema, new: Schema) -> Iterator[str]:
        before, after = (
            {(p["in"], p["name"].lower() if p["in"] == "header" else p["name"]): p for p in o.get("parameters", [])}
            for o in (old, new)
        )
        for key, parameter in before.items():
            where = f"parameter {key[1]} ({key[0]})"
            if key not in after:
                yield f"{where} is gone"
                continue
            if after[key].get("required") and not parameter.get("required"):
                yield f"{where} is required now"
            fits = _Fit(self._new, self._old, fields_may_be_added=False)
            yield from fits.misfits(after[key].get("schema", {}), parameter.get("schema", {}), where)
        for key in after.keys() - before.keys():
            if after[key].get("required"):
                yield f"parameter {key[1]} ({key[0]}) is new and required"

    def _body(self, old: Schema | None, new: Schema | None) -> Iterator[str]:
        if old is None:
            if new is not None and new.get("required"):
                yield "a body is required now"
            return
        if new is None:
            yield "the body is gone"
            return
        if new.get("required") and not old.get("required"):
            yield "a body is required now"
        for kind, media in old.get("content", {}).items():
            if kind not in new.get("content", {}):
                yield f"the media type {kind} of the body is gone"
                continue
            fits = _Fit(self._new, self._old, fields_may_be_added=False)
            yield from fits.misfits(new["content"][kind].get("schema", {}), media.get("schema", {}), "body")


class _Fit:
    """How values of a narrow schema fit a wide one, each with the document that its references point into."""

    def __init__(self, wide: Document, narrow: Document, *, fields_may_be_added: bool) -> None:
        self._wide, self._narrow, self._added = wide, narrow, fields_may_be_added

    def misfits(self, wide: Schema, narrow: Schema, where: str, depth: int = 0) -> list[str]:
        """Each way in which a value of `narrow` may not fit `wide`. What is deeper than _DEPTH counts as equal."""
        if depth > _DEPTH:
            return []  # a schema that holds itself
        found: list[str] = []
        targets = list(_alternatives(wide, self._wide))
        for value in _alternatives(narrow, self._narrow):
            tries = [self._misfits_of_one(target, value, where, depth) for target in targets]
            nearest = min(tries, key=len)
            found += nearest
        return found

    def _misfits_of_one(self, wide: Schema, narrow: Schema, where: str, depth: int) -> list[str]:
        kind = wide.get("type")
        if kind is not None and narrow.get("type") not in (kind, "integer" if kind == "number" else kind):
            return [f"{where}: the type was or is {narrow.get('type', 'any')}, not {kind}"]
        found = []
        if "enum" in wide:
            values = narrow.get("enum")
            extra = None if values is None else [value for value in values if value not in wide["enum"]]
            if extra is None or extra:
                found.append(f"{where}: of the enumeration {wide['enum']}, {'any' if extra is None else extra} is none")
        for keyword in (*_UPPER, *_LOWER):
            found += self._bound(wide, narrow, keyword, where)
        found += [f"{where}: another {k}: {wide[k]!r}" for k in _SAME if k in wide and wide[k] != narrow.get(k)]
        if "items" in wide:
            found += self.misfits(wide["items"], narrow.get("items", {}), f"{where}[]", depth + 1)
        return found + self._fields(wide, narrow, where, depth)

    @staticmethod
    def _bound(wide: Schema, narrow: Schema, keyword: str, where: str) -> list[str]:
        if keyword not in wide:
            return []
        limit, value = wide[keyword], narrow.get(keyword)
        inside = value is not None and (value <= limit if keyword in _UPPER else value >= limit)
        return [] if inside else [f"{where}: {keyword} {limit} where it was or is {value}"]

    def _fields(self, wide: Schema, narrow: Schema, where: str, depth: int) -> list[str]:
        needed = set(wide.get("required", ())) - set(narrow.get("required", ()))
        found = [f"{where}.{name} is required, and may be absent" for name in sorted(needed)]
        known, sent = wide.get("properties", {}), narrow.get("properties", {})
        rest = wide.get("additionalProperties", True)
        for name, schema in sent.items():
            if name in known:
                found += self.misfits(known[name], schema, f"{where}.{name}", depth + 1)
            elif rest is False and not self._added:
                found.append(f"{where}.{name} is unknown")
            elif isinstance(rest, Mapping):
                found += self.misfits(rest, schema, f"{where}.{name}", depth + 1)
        if self._added:
            found += [f"{where}.{name} is gone" for name in known if name not in sent and name not in needed]
        open_rest = narrow.get("additionalProperties", True)
        if open_rest is not False and rest is False and not self._added:
            found.append(f"{where}: fields that are not listed are refused")
        elif isinstance(rest, Mapping) and open_rest is not False:
            inner = open_rest if isinstance(open_rest, Mapping) else {}
            found += self.misfits(rest, inner, f"{where}.*", depth + 1)
        return found


def _alternatives(schema: Schema, document: Document) -> Iterator[Schema]:
    """The schema as one without references and choices for each choice."""
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        yield from _alternatives({**target, **beside}, document)
    elif "allOf" in schema:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            for resolved in _alternatives(part, document):
                merged = {**resolved, **merged}
        yield from _alternatives(merged, document)
    elif "anyOf" in schema or "oneOf" in schema:
        beside = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf", "title", "default")}
        for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            yield from _alternatives({**part, **beside}, document)
    elif "const" in schema:
        yield {**{key: value for key, value in schema.items() if key != "const"}, "enum": [schema["const"]]}
    elif isinstance(schema.get("type"), list):
        for kind in schema["type"]:
            yield {**schema, "type": kind}
    else:
        yield schema
