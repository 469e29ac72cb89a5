"""A preview's summary as JSON, in the shape that docs/pull-requests.md describes and keeps."""

from __future__ import annotations

import json
from typing import Any

from slipway.deploy.summary import ImageChange, PreviewProblem, PreviewSummary, Violation
from slipway.engine.events import Urn
from slipway.render.service_changes import ServiceChanges, service_changes
from slipway.state.difference import ResourceChange

VERSION = 1


def to_json(summary: PreviewSummary) -> str:
    """The whole summary, two spaces deep, with a newline at the end."""
    return json.dumps(shape(summary), indent=2, ensure_ascii=False) + "\n"


def shape(summary: PreviewSummary) -> dict[str, Any]:
    return {
        "version": VERSION,
        "project": summary.project,
        "stack": summary.stack,
        "result": summary.result.value,
        "durationSeconds": round(summary.duration_seconds, 3),
        "commits": {"previewed": summary.commits.previewed, "deployed": summary.commits.deployed},
        "counts": {operation.value: number for operation, number in summary.counts().items()},
        "unchanged": summary.unchanged,
        "changes": [_change(change) for change in summary.changes],
        "services": [_service(each) for each in service_changes(summary)],
        "images": [_image(image) for image in summary.images],
        "unitTestsPassed": list(summary.tested),
        "policies": {
            "asked": summary.rules,
            "violations": [_violation(violation) for violation in summary.violations],
        },
        "problems": [_problem(problem) for problem in summary.problems],
        "warnings": list(summary.warnings),
        "drift": None if summary.drift is None else [_drift(change, summary) for change in summary.drift],
    }


def _change(change: ResourceChange) -> dict[str, Any]:
    return {
        **_resource(change.resource),
        "service": change.service,
        "operation": change.operation.value,
        "deletedFirst": change.deleted_first,
        "kept": change.kept,
        "losesData": change.loses_data,
        "fields": [
            {
                "path": field.path,
                "kind": field.kind,
                "old": field.old,
                "new": field.new,
                "replaces": field.replaces,
            }
            for field in change.fields
        ],
    }


def _service(changes: ServiceChanges) -> dict[str, Any]:
    return {
        "service": changes.service,
        "fate": changes.fate.value,
        "settings": [{"name": each.name, "old": each.old, "new": each.new} for each in changes.settings],
        "podsRestart": changes.restarts,
        "pods": changes.pods,
        "notReversible": [text.replace("`", "") for text in changes.not_reversible],
    }


def _drift(change: ResourceChange, summary: PreviewSummary) -> dict[str, Any]:
    return {**_change(change), "changedBy": list(summary.changed_by.get(change.resource.urn, ()))}


def _image(image: ImageChange) -> dict[str, Any]:
    return {
        "service": image.service,
        "urn": image.resource.urn,
        "old": image.old,
        "new": image.new,
        "tag": image.new_tag,
    }


def _violation(violation: Violation) -> dict[str, Any]:
    return {
        "rule": violation.rule,
        "level": violation.level,
        "state": violation.state.value,
        "pack": violation.pack,
        "message": violation.message,
        **_resource(violation.resource),
    }


def _problem(problem: PreviewProblem) -> dict[str, Any]:
    return {
        **_resource(problem.resource),
        "service": problem.service,
        "message": problem.message,
        "step": problem.step,
        "output": list(problem.output),
        "nextStep": problem.next_step,
    }


def _resource(resource: Urn | None) -> dict[str, Any]:
    """`null`s for the stack as a whole."""
    if resource is None:
        return {"urn": None, "type": None, "name": None}
    return {"urn": resource.urn, "type": resource.type, "name": resource.name}
