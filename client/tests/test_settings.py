"""Where the address and the key come from, and that the key stays out of sight."""

import platform

import httpx2
import pytest

import recalld_client
from recalld_client import InvalidValue, Recalld, Timeouts, settings

KEY = "rk_secret"


def test_the_default_is_this_machine_without_a_key(client, fake):
    client.stats()
    request = fake.requests[0]
    assert str(request.url) == "http://127.0.0.1:7437/v1/stats"
    assert "authorization" not in request.headers
    version = f"recalld-client/{recalld_client.__version__} python/{platform.python_version()}"
    assert request.headers["user-agent"] == version


def test_the_environment_gives_what_the_arguments_leave_out(connect, fake, monkeypatch):
    monkeypatch.setenv("RECALLD_URL", "https://memory.example/base/")
    monkeypatch.setenv("RECALLD_API_KEY", KEY)
    fake.script.append(httpx2.Response(200, json={"namespace": "n", "memories": {}}))
    connect().stats()
    connect("http://other:1", api_key="rk_other").stats()
    assert [(str(each.url), each.headers["authorization"]) for each in fake.requests] == [
        ("https://memory.example/base/v1/stats", f"Bearer {KEY}"),
        ("http://other:1/v1/stats", "Bearer rk_other"),
    ]


def test_an_empty_variable_is_none(connect, fake, monkeypatch):
    monkeypatch.setenv("RECALLD_URL", "")
    monkeypatch.setenv("RECALLD_API_KEY", "")
    connect().stats()
    assert fake.requests[0].url.host == "127.0.0.1"
    assert "authorization" not in fake.requests[0].headers


def test_the_key_is_in_no_repr(connect, fake):
    client = connect("http://127.0.0.1:7437", api_key=KEY)
    scope = client.scope(user_id="alice")
    shown = [repr(client), repr(scope), str(client), repr(client.target._transport.settings)]
    shown += [repr(client.target._transport._http.headers)]
    assert [text for text in shown if KEY in text or "secret" in text] == []
    assert repr(client).removeprefix("Async") == "Recalld('http://127.0.0.1:7437')"


@pytest.mark.parametrize("key", ["two words\n", "\x00", "é", " rk_1"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(connect, key):
    with pytest.raises(InvalidValue, match=r"^api_key: must be printable ASCII") as caught:
        connect(api_key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:7437", "ftp://host", "http://", "unix:///run/x", "http://h/?a=1", "http://h/#x", "http://h:x"]
)
def test_an_address_that_is_none_is_refused(connect, url):
    with pytest.raises(InvalidValue, match=r"^url: must be like http://127.0.0.1:7437$"):
        connect(url)


def test_a_password_in_the_address_is_refused_and_not_shown(connect):
    with pytest.raises(InvalidValue, match=r"^url: must hold no user or password: pass api_key$"):
        connect("http://ann:hush@host")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("memory.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_only_other_machines_are_reached_through_a_proxy(host, loopback, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert settings.is_loopback(host) is loopback
    url = f"http://[{host}]:7437" if ":" in host else f"http://{host}:7437"
    with Recalld(url) as client:
        http = client._transport._http
        assert (http._transport_for_url(httpx2.URL(url)) is http._transport) is loopback


def test_chat_may_take_longer_than_the_rest(connect, fake):
    client = connect(timeouts=Timeouts(connect_s=1.0, reply_s=2.0, chat_s=3.0))
    client.stats()
    client.chat("hello")
    client.chat_stream("hello")
    assert [each.extensions["timeout"] for each in fake.requests] == [
        {"connect": 1.0, "read": read, "write": read, "pool": read} for read in (2.0, 3.0, 3.0)
    ]


@pytest.mark.parametrize("wrong", [{"connect_s": 0.0}, {"reply_s": -1.0}, {"chat_s": float("nan")}])
def test_a_timeout_that_is_no_time_is_refused(wrong):
    with pytest.raises(InvalidValue, match=f"^{next(iter(wrong))}: must be a number of seconds above 0$"):
        Timeouts(**wrong)
