"""Measure the native server side by side with iot.io 0.4.10 and with what its users would pick instead.

Makes all it needs under .bench/ on the first run, a few minutes. The servers take turns within each round; the server
has one processor core, the load generator the other. Prints one table of medians, with the ratio to the first row in
brackets, and the bars. Both, with every round, go to reports/bench.json and reports/bench.md, a plot of the medians to
reports/bench.svg. See bench/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench.measure import Cores, Failed, Running, choose_cores, measure, raise_file_limit
from bench.plot import plot
from bench.report import BUSY, PER_CPU, SHARE, Results, bars_table, judge, number, share, table
from bench.servers import SERVERS, Launch, Server, Unavailable, against, compiled
from bench.work import WORK, Work, metrics
from scripts.tools.environments import ROOT, SetupError, say

REPORTS = ROOT / "reports"
WARM_SECONDS = 0.3
"""Before each measurement; node compiles in it, and queues fill."""

FILES_OVER = 200
"""Files that a server opens besides its devices."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        return _bench(options)
    except SetupError as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nscripts/bench: stopped, no server is left", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog=f"work: {', '.join(work.name for work in WORK)}. servers: {', '.join(s.name for s in SERVERS)}. "
        "Did a change make echoes quicker? scripts/bench --servers iotio --only echo-64x1 --against HEAD~1",
    )
    parser.add_argument(
        "--rounds", type=_positive, default=5, help="rounds; each measures everything once (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=0.7, help="of each measurement (%(default)s)")
    parser.add_argument("--only", metavar="WORK[,WORK]", type=_names, help="only these; fanout takes all that begin so")
    parser.add_argument("--servers", metavar="NAME[,NAME]", type=_names, help="only these")
    parser.add_argument(
        "--against",
        metavar="REVISION",
        help="measure this commit too, or the checkout in this folder, with the packages of the working tree",
    )
    parser.add_argument("--require", action="store_true", help="status 1 where a bar is missed or not measured")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _bench(options: argparse.Namespace) -> int:
    if not sys.platform.startswith("linux"):
        raise SetupError("this needs Linux: the load generator is written for epoll")
    works, servers = _chosen_work(options.only), _chosen_servers(options.servers)
    if options.against:
        servers = (*servers, *against(options.against))
    load = compiled("wsload")
    launches, missing = _prepare(servers)
    works, left_out = _affordable(works, raise_file_limit())
    cores = choose_cores()
    start = time.monotonic()
    results = _rounds(options, load, launches, works, cores)
    report = _Report(options, works, launches, results, cores, time.monotonic() - start, {**missing, **left_out})
    report.print()
    report.write()
    return int(options.require and any(verdict.verdict != "ok" for verdict in report.verdicts))


def _chosen_work(names: Sequence[str] | None) -> tuple[Work, ...]:
    for name in names or ():
        if not any(work.name.startswith(name) for work in WORK):
            raise SetupError(f"there is no work {name!r}; there are {', '.join(work.name for work in WORK)}")
    chosen = [work for work in WORK if names is None or any(_means(work.name, name) for name in names)]
    return tuple(chosen)


def _means(work: str, name: str) -> bool:
    """Whether a word of --only means this work; echo-64x1 does not mean echo-64x16."""
    return work == name or (name not in {other.name for other in WORK} and work.startswith(name))


def _chosen_servers(names: Sequence[str] | None) -> tuple[Server, ...]:
    known = {server.name: server for server in SERVERS}
    for name in names or ():
        if name not in known:
            raise SetupError(f"there is no server {name!r}; there are {', '.join(known)}")
    return tuple(server for server in SERVERS if names is None or server.name in names)


def _prepare(servers: Sequence[Server]) -> tuple[dict[Server, Launch], dict[str, str]]:
    """Make each server ready; the reasons for those that are left out."""
    launches, missing = {}, {}
    for server in servers:
        try:
            launches[server] = server.prepare()
        except Unavailable as reason:
            missing[server.title] = str(reason)
            say(f"without {server.title}: {reason}")
    if not launches:
        raise SetupError("none of these servers can run here")
    return launches, missing


def _affordable(works: Sequence[Work], files: int) -> tuple[tuple[Work, ...], dict[str, str]]:
    reason = f"needs more open files than the {files} that a process may have here; see `ulimit -n`"
    left_out = {work.name: reason for work in works if work.devices + FILES_OVER > files}
    return tuple(work for work in works if work.name not in left_out), left_out


def _rounds(
    options: argparse.Namespace, load: Path, launches: dict[Server, Launch], works: Sequence[Work], cores: Cores
) -> Results:
    results = Results()
    servers = list(launches)
    for count in range(options.rounds):
        say(f"round {count + 1} of {options.rounds}")
        servers.reverse()  # forth and back, so that a machine that slows down favours nobody
        with ExitStack() as stack:
            shared: dict[Server, Running] = {}
            for work, server in itertools.product(works, servers):
                if not server.does(work) or count >= work.rounds:
                    continue
                try:
                    with ExitStack() as own:
                        running = shared.get(server)
                        if work.fresh:
                            running = own.enter_context(Running(launches[server], cores, store=work.store))
                        elif running is None:
                            running = shared[server] = stack.enter_context(Running(launches[server], cores))
                        figures = _measure(options, load, running, server, work, cores)
                except Failed as reason:
                    _note_failure(results, server, work, str(reason))
                else:
                    _note(results, server, work, count, figures)
    return results


def _measure(
    options: argparse.Namespace, load: Path, running: Running, server: Server, work: Work, cores: Cores
) -> dict[str, float]:
    return measure(load, running, server, work, cores, seconds=options.seconds, warm=WARM_SECONDS)


def _note(results: Results, server: Server, work: Work, count: int, figures: dict[str, float]) -> None:
    for metric in work.metrics:
        results.add(server.name, metric.name, count, figures[metric.name])
        if metric.is_rate and figures["server_cpu"] > 0:
            results.add(server.name, metric.name + PER_CPU, count, figures[metric.name] / figures["server_cpu"])
            results.add(server.name, metric.name + SHARE, count, figures["server_cpu"])
    say(f"  {work.name:<16} {server.title:<22} {_line(work, figures)}")


def _note_failure(results: Results, server: Server, work: Work, reason: str) -> None:
    for metric in work.metrics:
        results.problems[server.name, metric.name] = reason
    say(f"  {work.name:<16} {server.title:<22} failed: {reason}")


def _line(work: Work, figures: dict[str, float]) -> str:
    text = "  ".join(f"{metric.name} {figures[metric.name]:.1f}" for metric in work.metrics)
    load = f", load {figures['load_cpu']:.2f}" if "load_cpu" in figures else ""
    return f"{text}  (cores used: server {figures['server_cpu']:.2f}{load})"


class _Report:
    """What is printed and written at the end."""

    def __init__(
        self,
        options: argparse.Namespace,
        works: Sequence[Work],
        launches: dict[Server, Launch],
        results: Results,
        cores: Cores,
        seconds: float,
        missing: dict[str, str],
    ) -> None:
        self.results = results
        self.launches = launches
        self.missing = missing
        self.columns = metrics(tuple(works))
        self.titles = {server.name: server.title for server in launches}
        self.verdicts = judge(results)
        self.machine = {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "pinning": str(cores),
            "python": platform.python_version(),
        }
        self.run = {"rounds": options.rounds, "seconds": options.seconds, "took": round(seconds)}

    def text(self) -> str:
        """All of it, in Markdown."""
        parts = [
            f"Machine: {', '.join(f'{key} {value}' for key, value in self.machine.items())}.",
            f"{self.run['rounds']} rounds of {self.run['seconds']} s each, {self.run['took']} s in all.",
            "\n".join(f"- {server.title}: {_versions(launch)}" for server, launch in self.launches.items()),
        ]
        notes = [f"{name}: {reason}" for name, reason in self.missing.items()]
        notes += [f"{self.titles[s]}, {metric}: {reason}" for (s, metric), reason in self.results.problems.items()]
        if notes:
            parts.append("Not measured:\n" + "\n".join(f"- {note}" for note in notes))
        parts += [
            "Messages a second (fan-out: deliveries a second), medians; in brackets the ratio to the first row.",
            table(self.results, self.titles, self.columns),
        ]
        got = share(self.results, [server for server in self.titles if server != "c-echo"], self.columns)
        if got is not None and got < BUSY:
            parts.append(
                f"The servers got {got:.2f} of their core at the median: something else ran on it, or they waited for"
                " the load. Go by the ratios by processor time, or measure again when the machine is idle."
            )
        ceiling = self.results.median("c-echo", "echo-64x1")
        if ceiling is not None:
            parts.append(
                f"The load generator's own ceiling is the C row or above: {number(ceiling)} echoes 64 x 1 a second."
            )
        parts += ["Bars", bars_table(self.verdicts, {s.name: s.title for s in SERVERS}, metrics())]
        return "\n\n".join(parts)

    def print(self) -> None:
        print(self.text(), flush=True)

    def write(self) -> None:
        """reports/bench.json, reports/bench.md and reports/bench.svg."""
        REPORTS.mkdir(exist_ok=True)
        whole = {
            "machine": self.machine,
            "run": self.run,
            "versions": {server.name: dict(launch.versions) for server, launch in self.launches.items()},
            "results": self.results.as_dict(),
            "problems": {f"{server} {metric}": reason for (server, metric), reason in self.results.problems.items()},
            "missing": self.missing,
            "bars": [
                {
                    "metric": verdict.bar.metric,
                    "server": verdict.bar.server,
                    "to": verdict.bar.other,
                    "bound": verdict.bar.bound,
                    "measured": verdict.measured,
                    "by_processor_time": verdict.per_cpu,
                    "verdict": verdict.verdict,
                }
                for verdict in self.verdicts
            ],
        }
        (REPORTS / "bench.json").write_text(json.dumps(whole, indent=1) + "\n")
        (REPORTS / "bench.md").write_text(self.text() + "\n")
        (REPORTS / "bench.svg").write_text(plot(self.results, self.titles, self.columns))


def _versions(launch: Launch) -> str:
    return ", ".join(f"{name} {version}" for name, version in launch.versions.items())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
