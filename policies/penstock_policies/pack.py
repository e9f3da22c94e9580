"""The rules as a pack of Pulumi's: every finding stops the deployment."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from penstock_policies import accounts, encryption, exposure, images, labels, permissions, pods, price, protection
from penstock_policies.resource import UNKNOWN, Resource, Rule, Settings

RULES = (
    images.RULE,
    exposure.RULE,
    permissions.RULE,
    accounts.RULE,
    labels.RULE,
    encryption.RULE,
    pods.RULE,
    protection.APPROVAL,
    protection.DATA,
)
STACK = "pulumi:pulumi:Stack"


def register() -> None:
    """Hands the pack to the engine, and serves it until the engine is done."""
    PolicyPack(
        "penstock",
        policies=[*(_policy(rule) for rule in RULES), _price()],
        enforcement_level=EnforcementLevel.MANDATORY,
    )


def settings() -> Settings:
    """Those of the stack that is judged."""
    return Settings.read(pulumi.get_stack(), pulumi.Config("penstock").get("gcp"))


def _policy(rule: Rule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        seen = Resource(args.resource_type, args.name, _plain(args.props), args.opts.protect, settings())
        for finding in rule.findings(seen):
            report(f"{args.name} {finding}", args.urn)

    return ResourceValidationPolicy(rule.name, rule.description, validate)


def _price() -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for resource in args.resources:
            if resource.resource_type == STACK:
                own = args.get_config().get("usd_per_hour")
                for finding in price.findings(_plain(resource.props), settings(), own):
                    report(f"{resource.name} {finding}", resource.urn)

    schema = PolicyConfigSchema({"usd_per_hour": {"type": "number", "exclusiveMinimum": 0}})
    return StackValidationPolicy(price.NAME, price.DESCRIPTION, validate, config_schema=schema)


def _plain(value: Any) -> Any:
    """Pulumi's proxies as plain values: reading an unknown value raises there, and is UNKNOWN here."""
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(container: Any, key: Any) -> Any:
    try:
        return _plain(container[key])
    except UnknownValueError:
        return UNKNOWN
