"""The fuzzing suite for WebSocket (Autobahn's cases, run by kosoku) against our frames, messages and deflate.

    run.py PROGRAM [--quick] [--table FILE]

Starts the conformance program's plain WebSocket echo on each driver, once with and once without kept deflate contexts,
plays every case, and writes the suite's report to `report/`. A case passes only with the strict verdict, or where the
suite itself only informs; the exit code says whether all did. `--quick` plays a choice of a minute or so.
"""

import argparse
import asyncio
import contextlib
import datetime
import os
import platform
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

from kosoku import FailureError, run_fuzzingclient
from kosoku._report import write_reports

HERE = Path(__file__).resolve().parent

# (name, suite of the program, driver, cases)
ALL = ["*"]
DEFLATE = ["12.*", "13.*"]
# Everything but the large: of each deflate group short messages, one long and one fragmented.
QUICK = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)] + ["9.1.1", "9.2.1", "9.3.1", "9.4.1", "9.5.1", "9.7.1", "9.8.1"]
QUICK_DEFLATE = [f"{group}.{kind}.{size}" for group, kinds in ((12, 5), (13, 7)) for kind in range(1, kinds + 1) for size in (1, 3)]
QUICK_DEFLATE += ["12.1.6", "12.5.11", "13.2.6", "13.6.11"]

GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits, performance",
    "10": "automatic fragmentation",
    "12": "deflate, kinds of data",
    "13": "deflate, parameters",
}


INTRODUCTION = """\
The cases of the Autobahn test suite, which the Python package `kosoku` plays, against plain WebSocket echoes
of ours: `Builder::build_websocket` leaves Engine.IO out, everything below it is what Socket.IO runs on. A case passes with
the strict verdict, or where the suite only informs; `NON-STRICT` fails.

`make autobahn` plays everything, leaves the suite's report in `report/` and writes this page and the verdicts of each case,
[cases.tsv](cases.tsv). `make test-autobahn`, a part of `make test`, plays a choice. Contexts kept or not: both ways of permessage-deflate, the default being not."""


def targets(is_quick):
    plain, deflate = (QUICK, QUICK_DEFLATE) if is_quick else (ALL, DEFLATE)
    for driver in ("uring", "epoll"):
        # Without kept contexts everything is played; with them the groups that can tell the difference.
        yield f"{driver}", "websocket", driver, plain + (deflate if is_quick else [])
        yield f"{driver}, contexts kept", "websocket-context", driver, deflate


def free_port():
    """A port from below those that the kernel gives to connections."""
    for port in random.sample(range(10_000, 20_000), 100):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", port))
            return port
    raise SystemExit("no free port")


@contextlib.contextmanager
def server(program, suite, driver):
    port = free_port()
    command = [program, suite, "--port", str(port), "--shards", "1", "--driver", driver]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline()
        if not line.startswith("ready"):
            raise SystemExit(f"{' '.join(command)} did not start: {line!r}")
        yield f"ws://127.0.0.1:{port}"
        if child.poll() is not None:
            raise SystemExit(f"{' '.join(command)} has ended by itself with {child.returncode}")
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            raise SystemExit("the server did not stop at SIGTERM")
    if code != 0:
        raise SystemExit(f"the server ended with {code}")


def play(url, cases):
    try:
        return asyncio.run(run_fuzzingclient(url, cases, concurrency=2))
    except FailureError as failure:
        return failure.results


def is_strict(result):
    return {result.behavior.value, result.behavior_close.value} <= {"OK", "INFORMATIONAL"}


def table(rows):
    """The number of cases passed, by group and target."""
    names = list(rows)
    lines = ["| group | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for group, title in GROUPS.items():
        cells = []
        for name in names:
            results = [result for result in rows[name] if result.case_id.split(".")[0] == group]
            passed = sum(map(is_strict, results))
            cells.append(f"{passed} of {len(results)}" if results else "")
        lines.append(f"| {group} {title} | " + " | ".join(cells) + " |")
    totals = [f"{sum(map(is_strict, results))} of {len(results)}" for results in rows.values()]
    return "\n".join([*lines, "| all | " + " | ".join(totals) + " |"])


def by_case(rows):
    """What the suite says of each case and of how it was closed, a line for each case, a column for each target."""
    verdicts = {}
    for name, results in rows.items():
        for result in results:
            verdicts.setdefault(result.case_id, {})[name] = f"{result.behavior.value}/{result.behavior_close.value}"
    number = lambda case: [int(part) for part in case.split(".")]
    lines = ["\t".join(["case", *rows])]
    lines += ["\t".join([case, *(verdicts[case].get(name, "") for name in rows)]) for case in sorted(verdicts, key=number)]
    return "\n".join(lines) + "\n"


def commit():
    """Which one is checked out, and whether something is not in it."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    return told.stdout.strip() or "an unknown commit"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()

    rows, played_at = {}, commit()
    for name, suite, driver, cases in targets(options.quick):
        with server(options.program, suite, driver) as url:
            results = play(url, cases)
        rows[name] = results
        write_reports(results, str(HERE / "report" / f"{driver}-{suite}"))
        counts = Counter(f"{result.behavior.value}/{result.behavior_close.value}" for result in results)
        print(f"{name}: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())), flush=True)
        for result in results:
            if not is_strict(result):
                print(f"  {result.case_id}: {result.behavior.value}, {result.behavior_close.value}: {result.result}")

    text = table(rows)
    print(text)
    if options.table:
        where = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
        played = f"Cases passed on {datetime.date.today().isoformat()} at {played_at}, {where}:"
        options.table.with_name("cases.tsv").write_text(by_case(rows))
        options.table.write_text(f"# Autobahn\n\n{INTRODUCTION}\n\n{played}\n\n{text}\n")
    passed = sum(is_strict(result) for results in rows.values() for result in results)
    failed = sum(map(len, rows.values())) - passed
    print(f"autobahn: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
