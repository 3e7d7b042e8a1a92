"""Compute the progress of a runner along the course from one fix to the next.

    guide = Guide(course, marks, top_speed=race.top_speed)
    state = guide.begin(gun)
    state, seen = guide.advance(state, fix)

The nearest point of the line jumps wherever the line meets itself. So several
hypotheses of the runner's position are kept and weighed: a Gaussian sum filter
(`mixture`) with the motion of runners (`motion`) as its prior and map matching as its
observation. The likeliest hypothesis is shown, with a standard deviation that covers
the others and grows during silences.
"""

from runners.races.progress.guide import Guide, Replay
from runners.races.progress.state import Fix, Seen, State
from runners.races.splits import Mark, Passing

__all__ = ["Fix", "Guide", "Mark", "Passing", "Replay", "Seen", "State"]
