import pytest

from penstock_policies.resource import Resource, Settings
from tests.unit.policies._resources import GOOD, changed


@pytest.fixture
def resource():
    """Makes a good resource, with one thing changed where a path is given."""

    def make(type_, path="", value=None, *, protected=True, **settings):
        properties = changed(GOOD.get(type_, {}), path, value) if path else GOOD.get(type_, {})
        return Resource(type_, "it", properties, protected, Settings(**settings))

    return make
