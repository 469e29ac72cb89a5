"""The `pulumi.com/waitFor` annotation: conditions and JSON paths the user wants an object to meet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from lab.plugins.kubernetes.awaiting.readiness import (
    DONE,
    Judge,
    Readiness,
    Sight,
    State,
    condition,
    is_observed,
    waiting,
)
from lab.plugins.kubernetes.paths import MISSING, Path
from lab.plugins.kubernetes.values import int_at, list_at, mapping_at, text_at
from lab.plugins.serving import PluginError

_JSON_PATH = re.compile(r"^\{?\.?(?P<path>[^{}]+)\}?$")


def parse(text: str) -> Judge:
    """The readiness function of an annotation: one expression, or a JSON list of them that must all hold."""
    try:
        expressions = json.loads(text)
    except ValueError:
        expressions = [text]
    if isinstance(expressions, str):
        expressions = [expressions]
    if not isinstance(expressions, list) or not expressions:
        raise PluginError("pulumi.com/waitFor: at least one condition must be specified")
    judges = [_expression(str(item)) for item in expressions]

    def all_of(sight: Sight) -> Readiness:
        unmet = [answer for answer in (judge(sight) for judge in judges) if answer.state is not State.DONE]
        return unmet[0] if unmet else DONE

    return all_of


def _expression(text: str) -> Judge:
    kind, separator, rest = text.partition("=")
    if separator and kind == "condition":
        return _condition(rest)
    if separator and kind == "jsonpath":
        return _json_path(rest)
    raise PluginError(f'pulumi.com/waitFor: expected a "jsonpath=" or "condition=" prefix, got {text!r}')


def _condition(text: str) -> Judge:
    kind, _, wanted = text.partition("=")
    wanted = wanted or "True"

    def judge(sight: Sight) -> Readiness:
        named = [text_at(item, "type") for item in list_at(sight.live, "status", "conditions")]
        found = condition(sight.live, next((name for name in named if name.lower() == kind.lower()), kind))
        observed = int_at(found, "observedGeneration", default=int_at(sight.live, "metadata", "generation"))
        fresh = observed >= int_at(sight.live, "metadata", "generation")
        if fresh and text_at(found, "status").lower() == wanted.lower():
            return DONE
        told = f"Resource has condition {kind}={text_at(found, 'status') or 'not set'} (want {wanted})"
        return waiting(told, told)

    return judge


def _json_path(text: str) -> Judge:
    """`{.status.phase}` (exists) or `{.status.phase}=Running`."""
    expression, value = (text, None) if "}" not in text else _split(text)
    match = _JSON_PATH.match(expression.strip())
    try:
        path = Path.parse(match["path"]) if match else None
    except ValueError:
        path = None
    if path is None:
        raise PluginError(
            f"pulumi.com/waitFor: {text!r} is no JSON path this provider understands; "
            "write `jsonpath={.status.phase}=Running`"
        )
    return _path_judge(path, value, text)


def _split(text: str) -> tuple[str, str | None]:
    expression, _, rest = text.rpartition("}")
    return expression + "}", rest.lstrip("=").strip("'\"") if rest else None


def _path_judge(path: Path, wanted: str | None, text: str) -> Judge:
    def judge(sight: Sight) -> Readiness:
        if "observedGeneration" in mapping_at(sight.live, "status") and not is_observed(sight.live):
            return waiting(f"Waiting for {text}", "the controller has not seen the change")
        found = path.find(sight.live)
        met: Callable[[Any], bool] = (
            (lambda value: value is not MISSING) if wanted is None else lambda v: _told(v) == wanted
        )
        if met(found):
            return DONE
        told = f"Waiting for {text} (found {'nothing' if found is MISSING else _told(found)!r})"
        return waiting(told, told)

    return judge


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value) if value is not MISSING else ""
