"""The date resolver: which words are dates, what they mean at an anchor, how well intervals match a query's dates."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.times import Expression, date_match, overlap, resolve

ANCHOR = datetime(2023, 8, 9, 20, 6, tzinfo=UTC)  # a Wednesday
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def found(text: str, anchor: datetime | None = ANCHOR) -> list[tuple[str, str, str, str]]:
    """Each expression as (words, first day, last day, precision)."""
    return [
        (
            text[e.start_char : e.end_char],
            e.start.date().isoformat(),
            (e.end - timedelta(microseconds=1)).date().isoformat(),
            e.precision,
        )
        for e in resolve(text, anchor)
    ]


def one(text: str, anchor: datetime | None = ANCHOR) -> Expression:
    (expression,) = resolve(text, anchor)
    return expression


EXPLICIT = [  # text, words, first day, last day, precision
    ("on 8 May 2023 we", "8 May 2023", "2023-05-08", "2023-05-08", "day"),
    ("1:56 pm on 8 May, 2023", "8 May, 2023", "2023-05-08", "2023-05-08", "day"),
    ("May 8th, 2023", "May 8th, 2023", "2023-05-08", "2023-05-08", "day"),
    ("on December 1,2023", "December 1,2023", "2023-12-01", "2023-12-01", "day"),
    ("may 8, 2023", "may 8, 2023", "2023-05-08", "2023-05-08", "day"),
    ("Jan. 5, 2024", "Jan. 5, 2024", "2024-01-05", "2024-01-05", "day"),
    ("the fourth of July 2022", "fourth of July 2022", "2022-07-04", "2022-07-04", "day"),
    ("(2020, January 15)", "2020, January 15", "2020-01-15", "2020-01-15", "day"),
    ("Friday, 14 July 2023", "Friday, 14 July 2023", "2023-07-14", "2023-07-14", "day"),
    ("due 2023-05-08.", "2023-05-08", "2023-05-08", "2023-05-08", "day"),
    ("05/08/2023", "05/08/2023", "2023-05-08", "2023-05-08", "day"),  # month first
    ("13/05/2023", "13/05/2023", "2023-05-13", "2023-05-13", "day"),
    ("05.08.2023", "05.08.2023", "2023-08-05", "2023-08-05", "day"),  # day first
    ("5/8/99", "5/8/99", "1999-05-08", "1999-05-08", "day"),
    ("on Feb 29, 2024", "Feb 29, 2024", "2024-02-29", "2024-02-29", "day"),
    ("in May 2023", "May 2023", "2023-05-01", "2023-05-31", "month"),
    ("2023-05", "2023-05", "2023-05-01", "2023-05-31", "month"),
    ("back in 2023, they", "2023", "2023-01-01", "2023-12-31", "year"),
    ("In 2022, I took", "2022", "2022-01-01", "2022-12-31", "year"),
    ("her 2022 interview", "2022", "2022-01-01", "2022-12-31", "year"),
    ("the summer of 2022", "summer of 2022", "2022-06-01", "2022-08-31", "season"),
    ("winter 2022", "winter 2022", "2022-12-01", "2023-02-28", "season"),
    ("Christmas 2022", "Christmas 2022", "2022-12-25", "2022-12-25", "day"),
    ("Easter 2024", "Easter 2024", "2024-03-31", "2024-03-31", "day"),
    ("Thanksgiving 2022", "Thanksgiving 2022", "2022-11-24", "2022-11-24", "day"),
    ("New Year's Eve 2022", "New Year's Eve 2022", "2022-12-31", "2022-12-31", "day"),
    ("Mother's Day 2023", "Mother's Day 2023", "2023-05-14", "2023-05-14", "day"),
    ("in the 1990s", "1990s", "1990-01-01", "1999-12-31", "decade"),
    ("in the 90s", "90s", "1990-01-01", "1999-12-31", "decade"),
    ("November 5-6, 2022", "November 5-6, 2022", "2022-11-05", "2022-11-06", "range"),
    ("from May to July 2022", "May to July 2022", "2022-05-01", "2022-07-31", "range"),
    ("from 2019 to 2021", "2019 to 2021", "2019-01-01", "2021-12-31", "range"),
    ("late 2022", "late 2022", "2022-09-01", "2022-12-31", "range"),
    ("the end of October 2023", "end of October 2023", "2023-10-21", "2023-10-31", "range"),
    ("the Friday before 15 July 2023", "Friday before 15 July 2023", "2023-07-14", "2023-07-14", "day"),
    ("last weekend before April 10, 2023", None, "2023-04-08", "2023-04-09", "weekend"),
    ("two weekends before 17 July 2023", None, "2023-07-08", "2023-07-09", "weekend"),
    ("two days after 25 December 2022", None, "2022-12-27", "2022-12-27", "day"),
    ("the week before 9 June 2023", "week before 9 June 2023", "2023-06-02", "2023-06-08", "week"),
    ("the week of 23 August 2023", "week of 23 August 2023", "2023-08-21", "2023-08-27", "week"),
    ("first weekend of August 2023", None, "2023-08-05", "2023-08-06", "weekend"),
    ("the last Monday in May 2023", "last Monday in May 2023", "2023-05-29", "2023-05-29", "day"),
    ("last week of September 2023", None, "2023-09-24", "2023-09-30", "week"),
    ("between August 11 and August 15 2023", None, "2023-08-11", "2023-08-15", "range"),
]

RELATIVE = [
    ("yesterday I", "yesterday", "2023-08-08", "2023-08-08", "day"),
    ("see you tomorrow evening", "tomorrow evening", "2023-08-10", "2023-08-10", "day"),
    ("what's on tonight?", "tonight", "2023-08-09", "2023-08-09", "day"),
    ("last night", "last night", "2023-08-08", "2023-08-08", "day"),
    ("this morning", "this morning", "2023-08-09", "2023-08-09", "day"),
    ("the day before yesterday", "day before yesterday", "2023-08-07", "2023-08-07", "day"),
    ("the day after tomorrow", "day after tomorrow", "2023-08-11", "2023-08-11", "day"),
    ("last Sunday we", "last Sunday", "2023-08-06", "2023-08-06", "day"),
    ("last Wed. I", "last Wed", "2023-08-02", "2023-08-02", "day"),
    ("next Tuesday", "next Tuesday", "2023-08-15", "2023-08-15", "day"),
    ("this Friday", "this Friday", "2023-08-11", "2023-08-11", "day"),
    ("I won this Tuesday!", "this Tuesday", "2023-08-08", "2023-08-08", "day"),
    ("On Friday, I got news", "Friday", "2023-08-04", "2023-08-04", "day"),
    ("We will meet on Friday", "Friday", "2023-08-11", "2023-08-11", "day"),
    ("next week on Tuesday", "next week on Tuesday", "2023-08-15", "2023-08-15", "day"),
    ("this weekend", "this weekend", "2023-08-12", "2023-08-13", "weekend"),
    ("we tried it this weekend", "this weekend", "2023-08-05", "2023-08-06", "weekend"),
    ("last weekend", "last weekend", "2023-08-05", "2023-08-06", "weekend"),
    ("two weekends ago", "two weekends ago", "2023-07-29", "2023-07-30", "weekend"),
    ("last week", "last week", "2023-07-31", "2023-08-06", "week"),
    ("the week before last", "week before last", "2023-07-24", "2023-07-30", "week"),
    ("two weeks ago", "two weeks ago", "2023-07-23", "2023-07-29", "week"),
    ("We will leave in two weeks", "two weeks", "2023-08-20", "2023-08-26", "week"),
    ("this month", "this month", "2023-08-01", "2023-08-31", "month"),
    ("next month", "next month", "2023-09-01", "2023-09-30", "month"),
    ("four months ago", "four months ago", "2023-04-01", "2023-04-30", "month"),
    ("last year", "last year", "2022-01-01", "2022-12-31", "year"),
    ("at last year's party", "last year's", "2022-01-01", "2022-12-31", "year"),
    ("three years ago", "three years ago", "2020-01-01", "2020-12-31", "year"),
    ("a few days ago", "a few days ago", "2023-08-03", "2023-08-07", "range"),
    ("in the last two weeks", "last two weeks", "2023-07-26", "2023-08-09", "range"),
    ("over the past month", "past month", "2023-07-09", "2023-08-09", "range"),
    ("earlier this week", "earlier this week", "2023-08-07", "2023-08-09", "range"),
    ("later this month", "later this month", "2023-08-09", "2023-08-31", "range"),
    ("the end of last month", "end of last month", "2023-07-21", "2023-07-31", "range"),
    ("the other day", "other day", "2023-08-02", "2023-08-08", "range"),
    ("I recently moved", "recently", "2023-07-10", "2023-08-09", "range"),
    ("last summer", "last summer", "2022-06-01", "2022-08-31", "season"),
    ("next summer", "next summer", "2024-06-01", "2024-08-31", "season"),
    ("in May we went", "May", "2023-05-01", "2023-05-31", "month"),
    ("mid-May", "mid-May", "2023-05-11", "2023-05-20", "range"),
    ("early June", "early June", "2023-06-01", "2023-06-10", "range"),
    ("May of last year", "May of last year", "2022-05-01", "2022-05-31", "month"),
    ("I plan to return on July 20", "July 20", "2023-07-20", "2023-07-20", "day"),
    ("We met on the 20th.", "20th", "2023-07-20", "2023-07-20", "day"),
    ("We will meet on the 20th.", "20th", "2023-08-20", "2023-08-20", "day"),
    ("on the 15th of last month", "15th of last month", "2023-07-15", "2023-07-15", "day"),
    ("New Year's Eve", "New Year's Eve", "2023-12-31", "2023-12-31", "day"),
    ("from December 28 to January 3", None, "2023-12-28", "2024-01-03", "range"),
]

NOT_DATES = [
    "I may go, and you may 5 times out of 10",
    "we march 5 miles, march on, and he will march home",
    "May I come in? April said that June is with August.",
    "the sun set, she sat down, they wed, c'mon",
    "wait a second; he came second and I came third",
    "2000 people, 1999 dollars, in 2000 people, a 2000 calorie diet",
    "$2023, 2023%, #2023, room 2023, Cyberpunk 2077, RTX 2080",
    "v2023.1, version 2.0.2023, ISO-2022, K-2010A, 10.2020.30.4",
    "call 555-2023 or 555-0199, 24/7, rated 9/10, 1/2 cup",
    "every Friday, on Fridays, on weekends, Monday to Friday",
    "the next day, the last time, next to me, one day, these days, past years",
    "I finished it in two weeks", "once a week, 3 days a month, 40 hours per week",
    "the 20th century, her 18th birthday, on the 2nd floor, in the 4th",
    "in the 17th and 18th centuries",
    "fall down, spring water, the fall of Rome, a cold winter day",
    "2023-13-45, 31/31/2023, 0/0/2023",
    "the least recently used key",
]  # fmt: skip


@pytest.mark.parametrize(("text", "words", "first", "last", "precision"), EXPLICIT)
def test_an_explicit_date_needs_no_anchor(text: str, words: str | None, first: str, last: str, precision: str) -> None:
    assert found(text, None) == [(words or text, first, last, precision)]
    assert not one(text, None).anchored
    assert found(text) == found(text, None)


@pytest.mark.parametrize(("text", "words", "first", "last", "precision"), RELATIVE)
def test_a_relative_date_is_read_from_its_anchor(
    text: str, words: str | None, first: str, last: str, precision: str
) -> None:
    assert found(text) == [(words or text, first, last, precision)]
    assert one(text).anchored
    assert found(text, None) == []


@pytest.mark.parametrize("text", NOT_DATES)
def test_other_words_and_numbers_are_no_dates(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("since 2016", "since"),
        ("starting on May 1, 2023", "since"),
        ("after Christmas", "since"),
        ("by next Friday", "until"),
        ("due on Friday", "until"),
        ("until the end of the month", "until"),
        ("before 8 May 2023", "until"),
        ("on 8 May 2023", "at"),
        ("playing it for a month now", "since"),
    ],
)
def test_the_preposition_gives_the_role(text: str, role: str) -> None:
    assert one(text).role == role


def test_a_duration_that_goes_on_began_that_long_ago() -> None:
    assert found("been at it for seven years now") == [("seven years now", "2016-01-01", "2016-12-31", "year")]


def test_several_expressions_come_in_order_without_overlap() -> None:
    text = "Yesterday, or on 8 May 2023; then the Friday before 15 July 2023."
    assert [words for words, *_ in found(text)] == ["Yesterday", "8 May 2023", "Friday before 15 July 2023"]


def test_a_date_without_its_year_is_the_nearest_and_leans_to_the_tense() -> None:
    november = datetime(2023, 11, 20, tzinfo=UTC)
    assert found("it was moved to November 25", november)[0][1] == "2023-11-25"  # near beats a verb
    assert found("In May we went there", november)[0][1] == "2023-05-01"
    assert found("In May we will go there", november)[0][1] == "2024-05-01"
    assert found("I have lived here since December", november)[0][1] == "2022-12-01"


def test_hours_and_instants() -> None:
    hours = one("two hours ago")
    assert (hours.start, hours.end, hours.precision) == (
        ANCHOR - timedelta(hours=2), ANCHOR - timedelta(hours=1), "instant",
    )  # fmt: skip
    zoned = one("at 2022-05-08T10:00:00+02:00", ANCHOR.astimezone(timezone(timedelta(hours=9))))
    assert zoned.start == moment("2022-05-08T08:00:00")


def test_days_are_those_of_the_zone_of_the_anchor() -> None:
    late = datetime(2023, 8, 9, 23, 30, tzinfo=timezone(timedelta(hours=-5)))  # already the 10th in UTC
    today = one("today", late)
    assert (today.start, today.end) == (moment("2023-08-09T05:00:00"), moment("2023-08-10T05:00:00"))
    assert one("today", ANCHOR.replace(tzinfo=None)) == one("today", ANCHOR)


PIECES = """
last next the of in on by before after two few a week weeks month year years day May may 5 31 5th 2023 9999 Friday
weekend summer ago now - , . and to from between early end first yesterday New Year's Eve Christmas 1990s 2023-05-08
0001-01-01 9999-12-31 31/12/9999 12/31/9999 hours minutes decade decades 2023-05-08T10:00Z 0001-01-01T00:00+14:00
past this 29 Feb every recently
"""
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES.split()), max_size=14).map(" ".join))
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
EDGES = [edge.replace(tzinfo=zone) for edge in (FIRST, LAST) for zone in (None, UTC, timezone(timedelta(hours=14)))]
MOMENTS = st.one_of(st.datetimes(timezones=st.one_of(st.none(), OFFSETS)), st.sampled_from(EDGES))
ANCHORS = st.one_of(st.none(), MOMENTS)


@given(TEXTS, ANCHORS)
def test_intervals_are_not_empty_and_offsets_are_in_the_text(text: str, anchor: datetime | None) -> None:
    done = 0
    for expression in resolve(text, anchor):
        assert FIRST <= expression.start < expression.end <= LAST
        assert expression.start.utcoffset() == expression.end.utcoffset() == timedelta(0)
        assert done <= expression.start_char < expression.end_char <= len(text)
        words = text[expression.start_char : expression.end_char]
        assert words == words.strip()
        assert anchor is not None or not expression.anchored
        done = expression.end_char


def test_what_lies_outside_the_calendar_is_no_date() -> None:
    assert found("from May 5 to two hours ago", FIRST) == [("May 5", "0001-05-05", "0001-05-05", "day")]
    assert found("yesterday, 3000 years ago, last decade", FIRST) == []
    assert found("tomorrow, next week, next year", LAST) == []
    assert one("this month", LAST).end == LAST


@given(TEXTS, ANCHORS)
def test_resolving_is_deterministic(text: str, anchor: datetime | None) -> None:
    assert resolve(text, anchor) == resolve(text, anchor)


@given(st.lists(TEXTS, max_size=2).map(" ".join), ANCHORS, MOMENTS, TEXTS)
def test_a_match_is_between_0_and_1(text: str, anchor: datetime | None, occurred_at: datetime, turn: str) -> None:
    assert 0.0 <= date_match(resolve(text, anchor), occurred_at, resolve(turn, occurred_at)) <= 1.0


HOSTILE = [
    "last ",
    "1",
    "1-",
    "1 ",
    "\n",
    "\n  ",
    "May 5, ",
    "a few ",
    ".",
    "'",
    "x",
    "a'",
    "in 2023 ",
    "/",
    "1/2/",
    "é",
]
HOSTILE += [
    "was on Friday ",
    "between May 5 and ",
    "from the end of ",
    "2023-05-08T10:00:00.1",
    "first week of May ",
    " ",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_64_kib_of_anything_takes_linear_time(piece: str) -> None:
    text = (piece * 65_536)[:65_536]
    began = time.perf_counter()
    resolve(text, ANCHOR)
    assert time.perf_counter() - began < 5.0  # about 0.4 s at most; a quadratic pass takes minutes


def days(first: str, last: str) -> tuple[datetime, datetime]:
    return moment(first), moment(last) + timedelta(days=1)


def test_overlap_is_the_share_of_what_happened_that_is_in_the_date() -> None:
    may = resolve("in May 2023", None)
    assert overlap(may, days("2023-05-08", "2023-05-08")) == 1.0
    assert overlap(may, days("2023-01-01", "2023-12-31")) == pytest.approx(31 / 365)
    assert overlap(may, days("2023-06-01", "2023-06-01")) == 0.0
    assert overlap([], days("2023-05-08", "2023-05-08")) == 0.0


def test_a_day_tolerates_its_neighbours_at_half_because_of_time_zones() -> None:
    day = resolve("on 8 May 2023", None)
    assert overlap(day, days("2023-05-08", "2023-05-08")) == 1.0
    assert overlap(day, days("2023-05-09", "2023-05-09")) == 0.5
    assert overlap(day, days("2023-05-10", "2023-05-10")) == 0.0
    assert overlap(day, days("2023-05-08", "2023-05-14")) == pytest.approx(1.5 / 7)


def test_since_reaches_on_and_until_reaches_back() -> None:
    assert overlap(resolve("since May 2023", None), days("2024-01-01", "2024-01-01")) == 1.0
    assert overlap(resolve("since May 2023", None), days("2023-01-01", "2023-01-01")) == 0.0
    assert overlap(resolve("until May 2023", None), days("2022-01-01", "2022-01-01")) == 1.0


def test_of_several_dates_the_best_counts() -> None:
    dates = resolve("in May 2023 or on 1 July 2023", None)
    assert overlap(dates, days("2023-07-01", "2023-07-01")) == 1.0


def test_a_moment_is_inside_or_outside() -> None:
    may = resolve("in May 2023", None)
    assert overlap(may, (moment("2023-05-08"), moment("2023-05-08"))) == 1.0
    assert overlap(may, (moment("2023-06-01"), moment("2023-06-01"))) == 0.0


def test_a_turn_matches_by_its_own_day_or_by_a_date_that_it_mentions() -> None:
    query = resolve("What did she do on 8 May 2023?", None)
    said = moment("2023-05-25T13:00:00")
    assert date_match(query, said, []) == 0.0
    assert date_match(query, said, resolve("I ran two weeks ago", said)) == pytest.approx(1.5 / 7)
    assert date_match(query, moment("2023-05-08T23:00:00"), []) == 1.0
    assert date_match(query, moment("2023-05-09T10:00:00"), []) == 0.5
    yesterday = resolve("I ran yesterday", moment("2023-05-09T10:00:00"))
    assert date_match(query, moment("2023-05-09T10:00:00"), yesterday) == 1.0


def test_a_turn_of_unknown_time_matches_only_by_what_it_mentions() -> None:
    query = resolve("in May 2023", None)
    assert date_match(query, None, resolve("on 8 May 2023", None)) == 1.0
    assert date_match(query, None, []) == 0.0
    assert date_match([], moment("2023-05-08"), resolve("on 8 May 2023", None)) == 0.0


@pytest.mark.parametrize("edge", [FIRST, LAST, FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)])
def test_turns_at_either_end_of_the_calendar_have_a_day(edge: datetime) -> None:
    assert date_match(resolve("today", edge), edge, []) == 1.0
