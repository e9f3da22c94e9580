"""Checks of a deployed stack, by pytest and testinfra: `penstock verify` runs them, and so may any pytest run.

    pytest --pyargs penstock.verification.test_endpoint --hosts ssh://box

needs a fixture `target` of session scope; that of `penstock verify` is `Target.of(state)`.
"""
