"""The rules as a pack of Pulumi's: every finding stops the deployment."""

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

from penstock_policies import accounts, encryption, exposure, images, labels, permissions, pods, price, protection
from penstock_policies.resource import Resource, Rule, Settings, plain

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
        seen = Resource(args.resource_type, args.name, plain(args.props), args.opts.protect, settings())
        for finding in rule.findings(seen):
            report(f"{args.name} {finding}", args.urn)

    return ResourceValidationPolicy(rule.name, rule.description, validate)


def _price() -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for resource in args.resources:
            if resource.resource_type == STACK:
                own = args.get_config().get("usd_per_hour")
                for finding in price.findings(plain(resource.props), settings(), own):
                    report(f"{resource.name} {finding}", resource.urn)

    schema = PolicyConfigSchema({"usd_per_hour": {"type": "number", "exclusiveMinimum": 0}})
    return StackValidationPolicy(price.NAME, price.DESCRIPTION, validate, config_schema=schema)
