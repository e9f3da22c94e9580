"""The policy pack: `pulumi preview --policy-pack policies`, and the same for `up`."""

import sys

from penstock_policies import engine, pack

# The engine's address is the first argument of what it starts.
engine.end_with(sys.argv[1])
pack.register()
