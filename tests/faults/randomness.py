"""Random numbers of fault tests, repeatable with a seed.

The generator of the module `random` is not used, because pytest-randomly and hypothesis
seed it too.
"""

from __future__ import annotations

import random

rng = random.Random()


def use_seed(seed: int | None = None) -> None:
    """Set the seed, or choose one, and print the option that repeats the run."""
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    rng.seed(seed)
    print(f"--seed {seed}", flush=True)


def new_rng() -> random.Random:
    """Return a generator for one of several tasks, whose order is not repeatable."""
    return random.Random(rng.getrandbits(64))
