"""A resource's own URN among its properties, so that its provider can speak beside it in the engine's display."""

import asyncio

import pulumi


def of(name: str, type_: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The URN that a resource made with these arguments gets."""
    urn = pulumi.create_urn(name, type_, opts.parent)

    async def value() -> str:
        return await urn.future() or ""

    # As it comes it depends on the parent, which depends on its children: a circle. The value alone does not.
    return pulumi.Output(set(), asyncio.ensure_future(value()), asyncio.ensure_future(urn.is_known()))
