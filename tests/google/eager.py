"""Plans a program in milliseconds: each output is known at once, and nothing waits for anything.

Pulumi's own mocks take each plan through an event loop and threads, which is most of its time. Here a resource is
registered in place; what it is given, Pulumi itself still serializes. That both plan the same is a test
(test_plans.py).
"""

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pulumi
from pulumi import _types
from pulumi.output import _OutputData
from pulumi.runtime import rpc

UNWRAPPED = functools.cache(_types.unwrap_type)


class Known(pulumi.Output[Any]):
    """An output whose value is there."""

    def __init__(self, read: Callable[[], Any], secret: bool = False) -> None:
        self._read, self._secret = read, secret

    @property
    def _data(self) -> Any:
        return _Done(_OutputData(resources=set(), value=self._read(), is_known=True, is_secret=self._secret))

    def apply(self, func: Callable[[Any], Any], run_with_unknowns: bool = False) -> Any:
        """What is made of the value, at once."""
        return known(func(self._read()), self._secret)


class _Done(Awaitable[Any]):
    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Iterator[Any]:
        return self._value
        yield


def known(value: Any, secret: bool = False) -> Known:
    """The value with all that is in it, as an output; it is a secret if anything in it is."""
    secrets = [secret]
    found = _plain(value, secrets)
    return Known(lambda: found, any(secrets))


def _plain(value: Any, secrets: list[bool]) -> Any:
    if isinstance(value, Known):
        secrets.append(value._secret)
        return value._read()
    if isinstance(value, dict) and not _types.is_output_type(type(value)):
        return {key: _plain(each, secrets) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(each, secrets) for each in value)
    return value


def _now(coroutine: Any) -> Any:
    """What it returns: there is nothing that it would have to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as exc:
        return exc.value
    raise AssertionError("something is awaited that is not there yet")


def run(mocks: pulumi.runtime.Mocks, program: Callable[[], Any]) -> None:
    """Runs a program whose resources and calls are answered by `mocks`."""

    def register(res: pulumi.Resource, type_: str, name: str, custom: bool, *further: Any) -> None:
        _, _, props, opts, typ, *_ = further
        sent = _now(rpc.serialize_properties(props, {}, res, res.translate_input_property, typ))
        inputs = rpc.deserialize_properties(sent)
        id_, state = mocks.new_resource(pulumi.runtime.MockResourceArgs(type_, name, inputs, custom=custom))
        res.__dict__["urn"] = pulumi.create_urn(name, type_, opts.parent)
        if custom:
            res.__dict__["id"] = known(id_)
        # A resource of an SDK tells its names by its types, any other by itself.
        names = _types.resource_pulumi_to_py_names(type(res))
        wire = {names.get(key, key) if typ else res.translate_output_property(key): key for key in {**inputs, **state}}
        types = _types.resource_types(type(res))

        def read(field: str) -> Any:
            key = wire.get(field, field)
            return rpc.translate_output_properties(
                {**inputs, **state}.get(key), lambda name: name, types.get(key), typ is not None
            )

        for field in props:
            res.__dict__[field] = Known(lambda field=field: read(field))

    def invoke(token: str, props: Any, *_: Any, typ: Any = None, **__: Any) -> Known:
        found = mocks.call(pulumi.runtime.MockCallArgs(token, _plain(props, []), ""))
        return known(rpc.translate_output_properties(found, lambda name: name, typ, True))

    replaced = {
        "pulumi.resource.register_resource": register,
        "pulumi.resource.register_resource_outputs": lambda *_: None,
        # Pulumi looks at the same types again and again.
        "pulumi._types.unwrap_type": UNWRAPPED,
        "pulumi.export": lambda name, value: known(value),
        "pulumi.runtime.invoke_output": invoke,
        "penstock.local.urn.of": lambda name, type_, opts: pulumi.create_urn(name, type_, opts.parent),
        "pulumi.Output.from_input": staticmethod(known),
        "pulumi.Output.secret": staticmethod(lambda value: known(value, True)),
        "pulumi.Output.all": staticmethod(lambda *given, **named: known(named or list(given))),
    }
    with ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(mock.patch(name, value))
        program()
