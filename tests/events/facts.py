"""What the published schemas say about the fields that tlog writes; of every other field they say more.

OCSF: names, types, requirements, constraints and numbers, transcribed from ocsf/ocsf-schema (Apache-2.0), commit
a5cfc68: dictionary.json, events/base_event.json, events/application/api_activity.json, events/iam/authentication.json
and objects/. ECS: names, types and values allowed, transcribed from elastic/ecs (Apache-2.0), commit b85f757:
generated/ecs/ecs_flat.yml.
"""

from __future__ import annotations

from typing import Any

OCSF_BASE: dict[str, Any] = {
    "activity_id": int,
    "activity_name": str,
    "category_name": str,
    "category_uid": int,
    "class_name": str,
    "class_uid": int,
    "message": str,
    "metadata": "metadata",
    "severity": str,
    "severity_id": int,
    "status": str,
    "status_code": str,
    "status_detail": str,
    "status_id": int,
    "time": int,
    "type_uid": int,
    "unmapped": dict,
}
"""Attributes of every class: type, or name of an object."""

OCSF_REQUIRED = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}

OCSF_CLASSES: dict[int, dict[str, Any]] = {
    6003: {
        "category": (6, "Application Activity"),
        "name": "API Activity",
        "activities": {0: "Unknown", 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"},
        "attributes": {
            "actor": "actor",
            "api": "api",
            "dst_endpoint": "endpoint",
            "resources": ["resource"],
            "src_endpoint": "endpoint",
        },
        "required": {"actor", "api", "src_endpoint"},
        "at_least_one": set(),
    },
    3002: {
        "category": (3, "Identity & Access Management"),
        "name": "Authentication",
        "activities": {
            0: "Unknown",
            1: "Logon",
            2: "Logoff",
            3: "Authentication Ticket",
            4: "Service Ticket Request",
            5: "Service Ticket Renew",
            6: "Preauth",
            7: "Account Switch",
            99: "Other",
        },
        "attributes": {
            "actor": "actor",
            "dst_endpoint": "endpoint",
            "service": "entity",
            "src_endpoint": "endpoint",
            "user": "user",
        },
        "required": {"user"},
        "at_least_one": {"service", "dst_endpoint"},
    },
}

OCSF_OBJECTS: dict[str, dict[str, Any]] = {
    "metadata": {
        "attributes": {
            "correlation_uid": str,
            "event_code": str,
            "log_level": str,
            "log_name": str,
            "original_time": str,
            "product": "product",
            "uid": str,
            "version": str,
        },
        "required": {"product", "version"},
        "at_least_one": set(),
    },
    "product": {
        "attributes": {"name": str, "vendor_name": str, "version": str},
        "required": set(),
        "at_least_one": {"name", "uid"},
    },
    "actor": {
        "attributes": {"user": "user"},
        "required": set(),
        "at_least_one": {"process", "user", "iam_role", "invoked_by", "session", "app_name", "app_uid"},
    },
    "user": {"attributes": {"name": str, "uid": str}, "required": set(), "at_least_one": {"account", "name", "uid"}},
    "api": {"attributes": {"operation": str}, "required": {"operation"}, "at_least_one": set()},
    "endpoint": {
        "attributes": {"name": str, "hostname": str, "ip": str, "uid": str},
        "required": set(),
        "at_least_one": {"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid"},
    },
    "entity": {"attributes": {"name": str, "uid": str}, "required": set(), "at_least_one": {"name", "uid"}},
    "resource": {"attributes": {"name": str, "uid": str}, "required": set(), "at_least_one": set()},
}

OCSF_SEVERITY = {
    0: "Unknown",
    1: "Informational",
    2: "Low",
    3: "Medium",
    4: "High",
    5: "Critical",
    6: "Fatal",
    99: "Other",
}
OCSF_STATUS = {0: "Unknown", 1: "Success", 2: "Failure", 99: "Other"}

ECS_FIELDS = {
    "@timestamp": "date",
    "ecs.version": "keyword",
    "entity.target.name": "keyword",
    "error.message": "match_only_text",
    "error.stack_trace": "wildcard",
    "error.type": "keyword",
    "event.action": "keyword",
    "event.category": "keyword array",
    "event.dataset": "keyword",
    "event.duration": "long",
    "event.end": "date",
    "event.id": "keyword",
    "event.kind": "keyword",
    "event.module": "keyword",
    "event.outcome": "keyword",
    "event.start": "date",
    "event.type": "keyword array",
    "gen_ai.provider.name": "keyword",
    "gen_ai.request.model": "keyword",
    "log.level": "keyword",
    "message": "match_only_text",
    "trace.id": "keyword",
    "user.name": "keyword",
}
ECS_KINDS = {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"}
ECS_OUTCOMES = {"failure", "success", "unknown"}
ECS_TYPES_OF = {
    "authentication": {"start", "end", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    None: {
        "access", "admin", "allowed", "change", "connection", "creation", "deletion", "denied", "device", "end",
        "error", "group", "indicator", "info", "installation", "protocol", "start", "user",
    },
}  # fmt: skip
"""Values expected in event.type by event.category; all that are allowed where there is no category."""
