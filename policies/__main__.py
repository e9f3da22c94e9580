"""The policy pack: `pulumi preview --policy-pack policies`, and the same for `up`."""

from penstock_policies import pack

pack.register()
