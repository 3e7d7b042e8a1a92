"""Fault tests, each of which can be run by hand: `python -m tests.faults.churn`.

The suite runs the short forms. `--long`, as in `make test-faults`, `test-load` and
`test-fuzz`, runs the forms that the published figures come from.
"""
