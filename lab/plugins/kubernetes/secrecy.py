"""Which values the engine must encrypt: what was secret in the inputs, and the data of every Secret."""

from __future__ import annotations

from typing import Any

from lab.plugins.kubernetes.values import Object, Secret, has_secret


def mark_secrets(outputs: Object, inputs: Any) -> Object:
    """The outputs with every value wrapped that is secret in the inputs at the same path.

    Objects are walked; a list with a secret anywhere in it becomes secret as a whole, since the server may reorder it.
    """
    told = inputs.value if isinstance(inputs, Secret) else inputs
    marked = {key: _mark(value, told.get(key) if isinstance(told, dict) else None) for key, value in outputs.items()}
    if outputs.get("kind") == "Secret":
        for key in ("data", "stringData"):
            if key in marked and not isinstance(marked[key], Secret):
                marked[key] = Secret(outputs[key])
    return marked


def _mark(output: Any, given: Any) -> Any:
    if isinstance(output, Secret):
        return output
    if isinstance(output, dict) and isinstance(given, dict):
        return mark_secrets(output, given)
    return Secret(output) if has_secret(given) else output
