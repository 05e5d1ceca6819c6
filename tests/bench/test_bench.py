"""The load generator against real servers, and what is made of what it says."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest

from bench.measure import Cores, Failed, Running, measure, read
from bench.report import BARS
from bench.servers import PROGRAMS, SERVERS, Launch, compiled
from bench.work import WORK, Wire, Work, arguments, metrics
from scripts.tools import bench

ANY_CORES = Cores(set(), set())
BY_NAME = {server.name: server for server in SERVERS}

needs_linux_and_cc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None,
    reason="the load generator needs Linux and a C compiler (cc)",
)


@pytest.fixture(scope="module")
def load() -> Path:
    """The load generator."""
    return compiled("wsload")


def small(work: Work) -> Work:
    """The same work with few devices."""
    return dataclasses.replace(work, devices=20)


@needs_linux_and_cc
@pytest.mark.slow
@pytest.mark.parametrize("name", ["iotio", "iotio-def"])
def test_the_native_server_does_all_work(load: Path, name: str) -> None:
    server = BY_NAME[name]
    launch = Launch((sys.executable, str(PROGRAMS / "iotio_native.py"), "PORT"), {})
    with Running(launch, ANY_CORES) as running:
        for work in map(small, WORK):
            if server.does(work) and not work.store:
                figures = measure(load, running, server, work, ANY_CORES, seconds=0.2, warm=0.1)
                assert {metric.name for metric in work.metrics} <= figures.keys()


@needs_linux_and_cc
@pytest.mark.slow
@pytest.mark.parametrize("work", [work for work in WORK if work.store], ids=lambda work: work.name)
def test_devices_connect_to_a_server_with_a_store(load: Path, work: Work) -> None:
    launch = Launch((sys.executable, str(PROGRAMS / "iotio_native.py"), "PORT"), {})
    with Running(launch, ANY_CORES, store=True) as running:
        assert running._store is not None
        folder = Path(running._store.name)
        figures = measure(load, running, BY_NAME["iotio"], small(work), ANY_CORES, seconds=0.2, warm=0.1)
        assert figures[work.name] > 0
        assert (folder / "iotio.db").exists()
    assert not folder.exists()


@needs_linux_and_cc
def test_the_load_generator_finds_wrong_answers(load: Path) -> None:
    # A device type that the server does not know: it gets an error packet and not its echo.
    server = dataclasses.replace(BY_NAME["iotio"], device_type="unknown")
    launch = Launch((sys.executable, str(PROGRAMS / "iotio_native.py"), "PORT"), {})
    with Running(launch, ANY_CORES) as running, pytest.raises(Failed):
        measure(load, running, server, small(WORK[0]), ANY_CORES, seconds=0.2, warm=0.1)


@needs_linux_and_cc
@pytest.mark.slow
def test_the_echo_in_c_does_all_work(load: Path) -> None:
    with Running(Launch((str(compiled("wsecho")), "PORT"), {}), ANY_CORES) as running:
        for work in [small(work) for work in WORK if BY_NAME["c-echo"].does(work)]:
            measure(load, running, BY_NAME["c-echo"], work, ANY_CORES, seconds=0.1, warm=0.05)


def test_a_server_that_ends_says_why() -> None:
    launch = Launch((sys.executable, "-c", "raise SystemExit('no such thing')"), {})
    with pytest.raises(Failed, match="ended with 1: no such thing"), Running(launch, ANY_CORES):
        pass


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("", "the load generator said"),
        ('{"fail": "only 3 of 64 connected in 20.0 s"}', "only 3 of 64"),
        ('{"rate": 5, "err_conn": 0, "err_close": 2, "err_proto": 1}', "2 closed, 1 wrong answers"),
        ('{"rate": 0, "err_conn": 0, "err_close": 0, "err_proto": 0}', "no message came back"),
    ],
)
def test_what_does_not_count_has_no_figure(said: str, problem: str) -> None:
    with pytest.raises(Failed, match=problem):
        read(said, "", WORK[0])


def test_work_with_a_protocol_of_its_own_is_for_our_server_only() -> None:
    own = next(work for work in WORK if work.name == "connect-v2")
    assert [server.name for server in SERVERS if server.does(own)] == ["iotio"]
    assert "iotio.v2" in " ".join(arguments(own, own.wire or Wire.V1, "echo", 1, 1))


def test_every_bar_is_about_something_that_is_measured() -> None:
    names = {metric.name for metric in metrics()}
    assert {bar.metric for bar in BARS} <= names
    assert {bar.server for bar in BARS} | {bar.other for bar in BARS if bar.other} <= BY_NAME.keys()


def test_a_word_of_only_means_one_work_or_all_that_begin_with_it() -> None:
    assert [work.name for work in bench._chosen_work(["echo-64x1"])] == ["echo-64x1"]
    assert [work.name for work in bench._chosen_work(["fanout", "idle"])] == [
        "fanout-1",
        "fanout-4",
        "fanout-16",
        "idle",
    ]


@pytest.mark.parametrize("arguments", [["--only", "ehco"], ["--servers", "iotoi"]])
def test_an_unknown_name_is_told_with_those_that_there_are(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(arguments) == 1
    assert "there are " in capsys.readouterr().err
