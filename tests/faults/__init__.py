"""Faults caused on purpose, each runnable by hand: `python -m tests.faults.churn`.

The suite runs the short forms; `--long`, as in `make test-faults`, `test-load` and
`test-fuzz`, runs the tests behind the figures.
"""
