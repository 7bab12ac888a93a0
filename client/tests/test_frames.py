"""Episodes, procedures and outcomes, through both clients: what is sent, and what comes back."""

from datetime import UTC, datetime, timedelta

import pytest

from recalld_client import InvalidValue, NotFound

MORNING = datetime(2026, 3, 14, 9, tzinfo=UTC)
FRAME = {"actors": [{"name": "Ann"}], "action": "painted", "place": "Porto"}
PROCEDURE = {"task": "book a table", "steps": [{"action": "tap", "parameters": {"button": "{name}"}}]}


def test_episodes_are_read_page_by_page(client, fake):
    alice = client.scope(user_id="alice")
    added = [alice.add(f"day {n}", kind="episode", frame=FRAME) for n in range(3)]
    alice.add("no episode")
    given = {"actor": "Ann", "place": "Porto", "since": MORNING, "until": MORNING, "as_of": MORNING}
    assert alice.episodes(**given, known_at="2026-03-14T09:00:00Z") == added
    told = dict(fake.requests[-1].url.params)
    assert told.pop("limit") == "100"
    assert told == {
        "user_id": "alice",
        "known_at": "2026-03-14T09:00:00Z",
        **{name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items()},
    }
    assert alice.episodes(limit=2) == added[:2]


def test_where_everybody_stands(client):
    client.add("painted", kind="episode", frame=FRAME)
    (ann,) = client.workspace(actor="Ann", place="Porto", as_of=MORNING, known_at=MORNING, limit=5)
    assert (ann.actor, ann.place.value, ann.last.action, ann.role) == ("Ann", "Porto", "painted", None)


def test_procedures_are_asked_with_their_values(client, fake):
    alice = client.scope(user_id="alice")
    added = alice.add("how to", kind="procedure", frame=PROCEDURE)
    found = alice.procedures("a table, please", parameters={"at": MORNING}, limit=3, filter={"speaker": "x"})
    assert fake.bodies[-1] == {
        "task": "a table, please",
        "parameters": {"at": "2026-03-14T09:00:00+00:00"},
        "limit": 3,
        "filter": {"speaker": "x"},
        "scope": {"user_id": "alice"},
    }
    assert (len(found), found.relevant, [each.memory.id for each in found]) == (1, True, [added.id])
    assert (found[0].task, found[0].steps[0].action, found[0].extra) == ("book a table", "tap", ("at",))
    assert found[0].steps[0].parameters == {"button": "{name}"}


def test_an_outcome_is_a_change_of_the_frame_with_its_time(client, fake):
    added = client.add("how to", kind="procedure", frame=PROCEDURE)
    told = client.report_outcome(added.id, False, note="the button is gone", at=MORNING, if_match=1)
    outcome = {"success": False, "note": "the button is gone", "at": "2026-03-14T09:00:00+00:00"}
    assert fake.bodies[-1] == {"frame": {"outcome": outcome}}
    assert told.version == 2
    client.report_outcome(added.id, True)
    outcome = fake.bodies[-1]["frame"]["outcome"]
    assert (outcome["success"], outcome["note"]) == (True, None)
    assert abs(datetime.fromisoformat(outcome["at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    with pytest.raises(NotFound):
        client.report_outcome("mem_999", True)


def test_what_can_not_be_sent_is_refused_by_name(client):
    for refused, field in (
        (lambda: client.procedures("\ud800"), "task"),
        (lambda: client.report_outcome("mem_000", True, at=datetime(2026, 3, 14)), "at"),  # noqa: DTZ001
        (lambda: client.episodes(since="\ud800"), "since"),
        (lambda: client.workspace(limit=0), "limit"),
    ):
        with pytest.raises(InvalidValue, match=field):
            refused()
