"""The finish: when a runner has finished, and dropouts who arrive by car."""

from __future__ import annotations

from random import Random

import pytest

from bench.truth.courses import track
from bench.truth.runs import Fix
from runners.races.course import Course
from tests.races.bob import (
    GUN,
    METRES_PER_DEGREE_NORTH,
    STRAIGHT,
    along,
    at,
    course,
    every_ten_minutes,
    follow,
    guide,
    laps_of,
    running,
    splits,
)


def test_a_loop_is_not_finished_at_its_start() -> None:
    loop = laps_of(500, 1)
    bobs = guide(loop)
    state, seen = follow(bobs, running(loop, -60, 600))
    assert state.status == "started"
    state, more = follow(bobs, running(loop, 600, 800), state)

    assert state.status == "finished"
    assert [passing.mark for passing in splits(more)] == [99]
    assert state.finished == splits(more)[0].at
    assert (state.finished - GUN) / 1000 == pytest.approx(2_015 / 3, abs=3)
    assert more[-1].progress == pytest.approx(2_000, abs=1)


@pytest.mark.parametrize(
    ("short", "seconds", "status"),
    [
        (8, 60, "finished"),
        (25, 60, "started"),
        (25, 150, "finished"),
        (60, 300, "started"),
    ],
)
def test_a_runner_who_stands_near_the_line_has_finished(
    short: int, seconds: int, status: str
) -> None:
    line = course((0, 0), (1_000, 0))
    bobs = guide(line)
    stop = (1_000 - short + 15) // 3
    stands = [at(second, 1_000 - short) for second in range(stop, stop + seconds)]
    state, seen = follow(bobs, running(line, 0, stop) + stands)

    assert state.status == status
    finishes = [passing.at for passing in splits(seen) if passing.mark == 99]
    assert finishes == ([state.finished] if status == "finished" else [])
    assert all(stands[0].t <= finish <= stands[-1].t for finish in finishes)


@pytest.mark.parametrize(
    ("stands", "latest"),
    [
        ([at(3_600, 9_952), at(4_200, 9_972)], 3_600),
        # The second fix is false.
        ([at(3_600, 9_992), at(4_200, 4_000, 3_000)], 3_600),
        # The first fix is too far from the line.
        ([at(3_600, 9_928), at(4_200, 9_961)], 3_630),
    ],
)
def test_a_slow_phone_short_of_the_line_has_finished(
    stands: list[Fix], latest: int
) -> None:
    run = [at(second, 3 * second - 15) for second in range(-600, 3_001, 600)]
    state, _ = follow(guide(STRAIGHT), [*run, *stands])

    assert state.status == "finished"
    assert state.finished is not None
    assert 3_000 <= (state.finished - GUN) / 1000 <= latest


@pytest.mark.parametrize("back", [2_400, 3_300, 4_000])
def test_a_runner_who_stands_at_the_end_of_the_laps_has_finished(back: int) -> None:
    laps = laps_of(500, 4)
    run = along(laps, *((s, max(3.0 * s - 15, 0.0)) for s in range(-60, 901, 120)))
    stands = [at(second, 5, -5) for second in range(back, back + 600, 120)]
    state, _ = follow(guide(laps), [*run, *stands])

    assert state.status == "finished"


def test_a_slow_phone_that_is_driven_to_the_finish_has_not_finished() -> None:
    run = [at(second, 3 * second - 15) for second in range(-600, 1_801, 600)]
    # 3,400 m in ten minutes, and then 1,200 m.
    driven = [at(2_400, 8_785), at(3_000, 9_990), at(3_600, 9_990), at(4_200, 9_990)]
    state, _ = follow(guide(STRAIGHT), [*run, *driven])

    assert state.status == "off_course"
    assert state.finished is None


def test_a_finish_is_final() -> None:
    bobs = guide(course((0, 0), (1_000, 0)))
    line = course((0, 0), (1_000, 0))
    state, _ = follow(bobs, running(line, 0, 360))
    home = [at(400 + 10 * s, 1_000 - 30 * s) for s in range(60)]
    state, seen = follow(bobs, home, state)

    assert state.status == "finished"
    assert {one.progress for one in seen} == {bobs.finish}
    assert not splits(seen)
    assert not any(one.held for one in seen)


def test_a_runner_who_appears_at_the_finish_an_hour_later_has_not_finished() -> None:
    bobs = guide(STRAIGHT)
    state, _ = follow(bobs, running(STRAIGHT, 0, 600))
    bus = [at(4_800 + s, 10_000 + s % 3) for s in range(120)]
    state, seen = follow(bobs, bus, state)

    assert state.status != "finished"
    assert not splits(seen)
    assert state.progress == pytest.approx(599 * 3 - 15, abs=5)


@pytest.mark.parametrize("back", [4_260, 5_010])
def test_a_slow_phone_after_an_hour_in_a_dead_zone_has_finished(back: int) -> None:
    bobs = guide(STRAIGHT, 9_000)
    run = [at(second, 2.4 * second) for second in range(-600, 601, 600)]
    state, seen = follow(bobs, [*run, at(back, 10_010), at(back + 600, 10_005)])

    assert state.status == "finished"
    assert [passing.mark for passing in splits(seen)] == [0, 1, 99]


@pytest.mark.parametrize(("speed", "silence"), [(4.2, 260), (4.8, 240)])
def test_standing_at_the_line_after_a_silence_is_a_finish(
    speed: float, silence: int
) -> None:
    laps = course(*track(Random(1), 2_000))
    run = running(laps, 0, 260, speed=speed)
    # Others are possible: a rest at the line, one to three laps before the end.
    waits = range(260 + silence, 320 + silence)
    stands = along(laps, *((second, laps.length - 6) for second in waits))
    state, _ = follow(guide(laps), run + stands)

    assert state.status == "finished"


@pytest.mark.parametrize(("back", "over"), [(660, 720), (1_260, 1_265)])
def test_a_finish_that_is_seen_late_is_as_uncertain(back: int, over: int) -> None:
    line = course((0, 0), (2_000, 0))
    # The runner crosses the line at 672 s, during a silence or while errors keep the
    # phone short of it.
    short = [at(second, 1_980) for second in range(back, over, 5)]
    beyond = [at(second, 2_005) for second in range(over, over + 30, 5)]
    state, seen = follow(guide(line), running(line, 0, 650) + short + beyond)

    assert state.status == "finished"
    finish = splits(seen)[-1]
    assert finish.mark == 99
    assert (finish.at - GUN) / 1000 - finish.uncertainty <= 672


def test_a_silence_over_the_finish_is_interpolated() -> None:
    line = course((0, 0), (2_000, 0))
    bobs = guide(line)
    fixes = running(line, 0, 600) + [at(780 + s, 2_010) for s in range(10)]
    state, seen = follow(bobs, fixes)

    assert state.status == "finished"
    finish = splits(seen)[-1]
    assert finish.uncertainty == pytest.approx(181, abs=10)
    assert 600 < (finish.at - GUN) / 1000 <= 790


OUT_AND_BACK_10 = course((0, 0), (5_000, 0), (0, 0))


@pytest.mark.parametrize("false", [2, 3])
def test_a_false_fix_far_from_the_course_is_no_ride(false: int) -> None:
    run = every_ten_minutes(OUT_AND_BACK_10, 2_000, 4_000, 6_000, 8_000, *[10_000] * 3)
    run[false] = at(600 * (false + 1), 4_000, 4_000)
    state, _ = follow(guide(OUT_AND_BACK_10), run)

    assert state.status == "finished"


@pytest.mark.parametrize(("pace", "finishes"), [(3.3, True), (4.0, False)])
def test_who_comes_to_the_finish_faster_than_they_run_was_driven(
    pace: float, finishes: bool
) -> None:
    run = running(STRAIGHT, 0, 1_500, step=30)
    arrival = 1_500 + round(5_500 / pace)
    fixes = [*run, *(at(arrival + s, 10_000 + s / 10) for s in range(0, 600, 30))]
    state, _ = follow(guide(STRAIGHT), fixes)

    assert (state.status == "finished") is finishes


@pytest.mark.parametrize(
    ("known", "pace", "silent", "length"),
    [
        # A final descent. The runner has run `known` seconds at `pace` before.
        (5_667, 1.5, 2.6, 10_000),
        (6_000, 1.5, 2.6, 10_000),
        (4_500, 2.0, 3.0, 10_000),
        (3_200, 2.5, 3.4, 10_000),
        # A crowded start.
        (200, 1.5, 3.3, 10_000),
        # Fast runners whose phone is silent from soon after the start.
        (30, 3.7, 3.7, 10_000),
        (30, 4.2, 4.2, 10_000),
        (60, 4.2, 4.2, 42_195),
    ],
)
def test_who_is_faster_in_a_silence_than_before_finishes(
    known: int, pace: float, silent: float, length: int
) -> None:
    finish = known + round((length - pace * known) / silent)
    waits = [at(s, 0) for s in (-60, -30, -10)]
    run = [at(s, pace * s) for s in range(1, known, max(known // 40, 5))]
    arrived = [at(s, length) for s in range(finish, finish + 300, 5)]
    state, _ = follow(guide(course((0, 0), (length, 0))), [*waits, *run, *arrived])

    assert state.status == "finished"


def slow_phone(line: Course, *fixes: tuple[int, float, float]) -> list[Fix]:
    """Return a slow phone's fixes at (seconds, distance, metres aside)."""
    return [
        Fix(GUN + 1000 * s, lat + aside / METRES_PER_DEGREE_NORTH, lng, 5.0)
        for s, distance, aside in fixes
        for lat, lng in [line.point_at(distance)]
    ]


LAPS_2600 = laps_of(650, 4)


OUT_AND_BACK_16 = course((0, 0), (8_150, 0), (0, 0))


@pytest.mark.parametrize(
    ("line", "fixes"),
    [
        # Drops out where a lap ends, and stands there.
        (
            LAPS_2600,
            [(609, 1_890, 0), (1_287, 4_340, 0), (1_873, 6_280, 0)]
            + [(s, 7_805, 0) for s in (2_462, 3_012, 3_654, 4_250)],
        ),
        # Stands at the finish, where the first fix comes too early.
        (
            course((0, 0), (6_305, 0), (6_305, 1_690), (0, 1_690), (0, 0)),
            [(679, 1_957, 0), (1_235, 3_678, 0), (1_825, 5_396, 0)]
            + [(3_627, 10_695, 0), (4_182, 12_612, 0)]
            + [(4_804, 15_990, 37), (5_483, 15_990, 2), (6_080, 15_990, 5)],
        ),
        # Seen once on the way, faster than anybody can run.
        (
            OUT_AND_BACK_16,
            [(583, 2_097, 0), (1_147, 4_048, 0), (1_714, 6_122, 0)]
            + [(2_971, 9_869, 0), (3_576, 12_015, 0), (4_169, 15_372, 28)]
            + [(s, 16_300, 5) for s in (4_718, 5_397, 5_990)],
        ),
        # Seen once on the way, beside the course.
        (
            STRAIGHT,
            [(600, 1_800, 0), (1_200, 3_600, 0), (1_800, 5_400, 0)]
            + [(2_400, 7_600, 600)]
            + [(s, 10_005, 5) for s in (3_080, 3_680, 4_280)],
        ),
    ],
    ids=["end of a lap", "early at the finish", "fast on the way", "beside the course"],
)
def test_who_was_driven_to_the_finish_of_a_slow_phone_does_not_finish(
    line: Course, fixes: list[tuple[int, float, float]]
) -> None:
    state, _ = follow(guide(line), slow_phone(line, *fixes))

    assert state.status != "finished"


def test_the_errors_of_a_slow_phone_at_the_finish_do_not_hide_it() -> None:
    run = [(s, 2.5 * s, 0.0) for s in range(600, 4_201, 600)]
    stands = [(4_800, 11_716, 0), (5_460, 11_747, 0)]
    line = laps_of(735, 4)
    state, _ = follow(guide(line), slow_phone(line, *run, *stands))

    assert state.status == "finished"


@pytest.mark.parametrize("every", [30, 120])
def test_who_drops_out_beside_the_course_shortly_before_the_finish(every: int) -> None:
    run = [(s, 3.0 * s) for s in range(every, 3_000, every)]
    last, distance = run[-1]
    stay = [at(last + s, distance + 20, 70) for s in range(every, 2_400, every)]
    state, seen = follow(guide(STRAIGHT), [*along(STRAIGHT, *run), *stay])

    assert state.status == "off_course"
    assert 99 not in [passing.mark for passing in splits(seen)]


@pytest.mark.parametrize("every", [1, 15])
def test_a_false_fix_before_a_silence_does_not_hide_a_fast_finish(every: int) -> None:
    run = running(STRAIGHT, 0, 3_001, step=every)
    false = at(3_000 + every, 3 * (3_000 + every) - 15, 60)
    # The last kilometre at 3.4 m/s.
    stands = [at(3_300 + 60 * n, 10_005) for n in range(4)]
    state, _ = follow(guide(STRAIGHT), [*run, false, *stands])

    assert state.status == "finished"


@pytest.mark.parametrize(
    ("every", "after", "finishes"),
    [
        # Seen on the line, then beside the course, then on the way home by car.
        (120, [(3_365, 10_000, 0), (3_485, 10_010, 160), (3_605, 8_000, 900)], True),
        # Seen beside the course only.
        (600, [(3_600, 9_990, 230), (4_200, 6_000, 3_000)], True),
        # Walks back along the course.
        (120, [(3_360, 9_992, 0), (3_480, 9_840, 0), (3_600, 9_690, 0)], True),
        # Walks the rest.
        (120, [(3_360, 9_650, 0), (3_480, 9_740, 0), (3_600, 9_830, 0)], False),
        # Is too far away to have walked there.
        (120, [(3_360, 9_600, 600), (3_480, 9_000, 1_200)], False),
    ],
    ids=["car", "beside", "back", "slow", "far"],
)
def test_a_runner_who_leaves_the_finish_has_finished(
    every: int, after: list[tuple[int, float, float]], finishes: bool
) -> None:
    run = [(s, 3.0 * s - 15, 0.0) for s in range(every, 3_300, every)]
    state, seen = follow(guide(STRAIGHT), slow_phone(STRAIGHT, *run, *after))

    assert (state.status == "finished") is finishes
    passed = [passing for passing in splits(seen) if passing.mark == 99]
    assert len(passed) == finishes
    for finish in passed:
        assert abs(finish.at - GUN - 3_338_000) <= 1000 * finish.uncertainty <= 660_000
