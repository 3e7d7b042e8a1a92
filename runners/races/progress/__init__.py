"""How far along its course a runner is, fix by fix.

    guide = Guide(course, marks, top_speed=race.top_speed)
    state = guide.begin(gun)
    state, seen = guide.advance(state, fix)

The nearest point of the line jumps wherever the line meets itself, so a few hypotheses
of where the runner may be are kept and weighed: a Gaussian sum filter (`mixture`) with
the motion of runners (`motion`) as its prior and map matching as its observation. What
is shown is the likeliest, with a standard deviation that covers the others and grows
with each silence.
"""

from runners.races.progress.guide import Guide, Replay
from runners.races.progress.state import Fix, Seen, State
from runners.races.splits import Mark, Passing

__all__ = ["Fix", "Guide", "Mark", "Passing", "Replay", "Seen", "State"]
