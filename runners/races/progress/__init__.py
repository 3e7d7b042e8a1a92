"""How far along its course a runner is, fix by fix.

    guide = Guide(course, marks, top_speed=race.top_speed)
    state = guide.begin(gun)
    state, seen = guide.advance(state, fix)

The nearest point of the line jumps wherever the line meets itself, so a fix is weighed
against where the runner should be by now: an alpha-beta filter along the line, with a
window as wide as the top speed allows. After a silence all places near the fix compete
until one is left; meanwhile, and off the course, progress stays at the last certain.
Where the line lies in folds closer than the noise, the likelihood of all places is kept
instead (`belief`).
"""

from runners.races.progress.guide import Guide, Replay
from runners.races.progress.state import Fix, Seen, State
from runners.races.splits import Mark, Passing

__all__ = ["Fix", "Guide", "Mark", "Passing", "Replay", "Seen", "State"]
