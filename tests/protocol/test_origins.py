"""Which requests are those of strangers' web pages."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from iotio_protocol import origins
from iotio_protocol.options import Options
from iotio_protocol.origins import Foreign, foreign, is_by_browser, name_of

BROWSER = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
HUB = Options(allowed_hosts=["iot.example"])


def found_by(
    signs: Collection[tuple[str, str]], origin: str | None, host: str | None, options: Options = HUB
) -> Foreign | None:
    headers = [*signs, ("ORIGIN", origin), ("Host", host), ("X-Origin", "https://other.example")]
    return foreign([(name, value) for name, value in headers if value is not None], options)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "iot.example"),
        ("", "iot.example"),
        ("http://iot.example", "iot.example"),
        ("HTTP://IoT.example", "iot.EXAMPLE"),
        ("http://iot.example:80", "iot.example"),
        ("http://iot.example", "iot.example:80"),
        ("https://iot.example", "iot.example:443"),
        ("https://iot.example:443", "iot.example"),
        ("http://[::1]:5000", "[::1]:5000"),
        (" http://iot.example ", "iot.example"),
    ],
)
def test_the_servers_own_pages_pass(origin: str | None, host: str) -> None:
    assert found_by([BROWSER], origin, host) is None
    assert found_by([], origin, host) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "iot.example"),
        ("http://iot.example.evil.example", "iot.example"),
        ("http://iot.example:8080", "iot.example"),
        ("http://iot.example", "iot.example:8080"),
        ("https://iot.example:80", "iot.example"),
        ("http://iot.example:443", "iot.example"),
        ("null", "iot.example"),
        ("file://", "iot.example"),
        ("http://user@iot.example", "iot.example"),
        ("http://192.168.1.9", "192.168.1.5"),
        ("http://iot.example", None),
        ("http://", ""),
        ("iot.example", "iot.example"),
    ],
)
def test_other_pages_do_not(origin: str, host: str | None) -> None:
    assert found_by([BROWSER], origin, host) == Foreign("allowed_origins", origin)
    assert found_by([BROWSER], origin, host, Options(allowed_origins=["http://elsewhere"])) is not None
    for allowed in ([origin], ["*"]):
        assert found_by([BROWSER], origin, host, Options(allowed_origins=allowed)) is None


@pytest.mark.parametrize(
    "sign",
    [
        BROWSER,
        ("Cookie", "a=b"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "websocket"),
        ("SEC-FETCH-DEST", "empty"),
        ("Sec-Fetch-User", "?1"),
    ],
)
def test_signs_of_a_browser(sign: tuple[str, str]) -> None:
    assert found_by([sign], "null", "iot.example") == Foreign("allowed_origins", "null")
    assert is_by_browser({sign[0].lower(): sign[1]})


@pytest.mark.parametrize("agent", ["", "curl/8.5", "TinyWebsockets Client", "Python/3.13 Mozilla/5.0"])
def test_no_signs_of_one(agent: str) -> None:
    assert not is_by_browser({"user-agent": agent, "host": "iot.example", "sec-websocket-key": "x"})
    assert found_by([("User-Agent", agent)], "null", "evil.example") is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "file://",  # arduinoWebSockets
        "https://github.com/gilmaimon/TinyWebsockets",  # ArduinoWebsockets; no browser says a path
        "http://user:password@evil.example",
        "http://iot.example:8080",  # a proxy that passes Host on without the port
        "http://127.0.0.1:5000",  # or its own name for us
        "http://pi.local",
        "device",
    ],
)
def test_what_libraries_say_passes(origin: str) -> None:
    assert found_by([], origin, "iot.example") is None


@pytest.mark.parametrize("origin", ["http://evil.example", "https://evil.example:8443", "HTTP://EVIL.example"])
def test_what_a_page_would_say_does_not_even_without_signs(origin: str) -> None:
    assert found_by([], origin, "iot.example") == Foreign("allowed_origins", origin)
    headers = [("Origin", origin), ("Host", "iot.example")]
    assert foreign(headers, HUB, by_program=True) is None, "no page can send what that program has sent"
    assert foreign([*headers, BROWSER], HUB, by_program=True) == Foreign("allowed_origins", origin)


KNOWN = [
    "localhost", "localhost:5000", "localhost.", "app.localhost", "127.0.0.1:5000", "192.168.1.5", "[::1]:5000",
    "[fe80::1%25eth0]", "pi.local:5000", "PI.local", "raspberrypi:5000", "hub.home.arpa",
    "hub.internal", "iot.example", "IoT.Example:443", "a.devices.example",
]  # fmt: skip


@pytest.mark.parametrize("host", [*KNOWN, origins._MACHINE])
def test_names_of_this_server(host: str) -> None:
    options = Options(allowed_hosts=["iot.example", "*.Devices.example"])
    assert found_by([BROWSER], f"http://{host}", host, options) is None
    assert found_by([BROWSER], None, host, options) is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("evil.example", "evil.example"),
        ("evil.example:5000", "evil.example"),
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        ("hub.lan", "hub.lan"),
        (":5000", ""),
        ("internal.example", "internal.example"),
        ("localhost.evil.example", "localhost.evil.example"),
        ("devices.example", "devices.example"),
        ("xdevices.example", "xdevices.example"),
    ],
)
def test_names_that_a_page_may_have_made_lead_here(host: str, name: str) -> None:
    options = Options(allowed_hosts=["iot.example", "*.devices.example"])
    stranger = Foreign("allowed_hosts", name)
    assert found_by([BROWSER], f"http://{host}", host, options) == stranger
    assert found_by([BROWSER], None, host, options) == stranger
    assert found_by([], f"http://{host}", host, options) is None, "no browser, no page"
    assert found_by([BROWSER], f"http://{host}", host, Options(allowed_hosts=["*"])) is None
    assert found_by([BROWSER], f"http://{host}", host, Options(allowed_origins=[f"http://{host}"])) is None


def test_a_browser_always_says_a_host() -> None:
    assert found_by([("Cookie", "a=b")], None, None) is None, "so this is a script"


def test_what_is_told() -> None:
    page = Foreign("allowed_origins", "http://" + "x" * 100)
    assert page.info == {"origin": ("http://" + "x" * 100)[:80]}
    assert page.advice.endswith(f"Options(allowed_origins=[{page.info['origin']!r}])")
    host = Foreign("allowed_hosts", "evil.example")
    assert host.info == {"host": "evil.example"}
    assert host.advice == "If this server has that name: Options(allowed_hosts=['evil.example'])"


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.example", "a.example"), ("a.example:80", "a.example"), ("a.example.", "a.example"), ("[::1]:80", "::1"),
     ("[::1]", "::1"), ("", "")],
)  # fmt: skip
def test_the_name_in_a_host(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize("option", ["allowed_hosts", "allowed_origins"])
def test_a_text_is_no_list(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be a list"):
        Options(**{option: "iot.example"})  # type: ignore[arg-type]
