#!/usr/bin/env python3
"""Times pare against its peers. SPDX-License-Identifier: Apache-2.0

Each side is a process of its own, its threads pinned one a core. The sides of a problem are timed in turns, in short
slices, for several rounds; figures are medians over the rounds, ratios medians of the ratios within a round. The
distance of the cores (core_distance.c) is taken before and after each problem; a problem whose ratio moves by more than
10 % or whose distance changed is timed once more. A peer that is not there is named as missing. Exit status: 0 if every
target that could be judged is met, 1 if one is not."""

import argparse
import datetime
import glob
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import rows

HERE = os.path.dirname(os.path.abspath(__file__))
# A round trip between two cores takes about 50-120 ns when they are near each other, 300 and more when far.
NEAR_NS = 200
BUSY_NS = 1000
# The peers, as packages of PyPI: figures of other versions are other figures.
ONNXRUNTIME = ("numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.31.1")
GGML = "llama-cpp-python==0.3.36"
PAUSE_SECONDS = 0.1  # threads of a peer spin for a while after their work
STEADY = 0.10


class Missing(Exception):
    """A side that cannot do its work; the text says why."""


class Server:
    """One side in a process of its own, started at its first question."""

    def __init__(self, command, environment):
        self.command, self.environment, self.process, self.missing = command, environment, None, None
        if not os.path.exists(command[0]):
            self.missing = f"{os.path.basename(command[0])} is not built"

    def ask(self, work, seconds):
        if self.missing:
            raise Missing(self.missing)
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                env={**os.environ, **self.environment},
            )
        name, *arguments = work.split()
        try:
            self.process.stdin.write(" ".join([name, str(seconds), *arguments]) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().split()
        except OSError:
            answer = []
        if not answer:
            self.missing = f"{os.path.basename(self.command[-1])} stopped with status {self.process.wait()}"
            raise Missing(self.missing)
        if answer[0] == "none":
            raise Missing(" ".join(answer[1:]))
        return float(answer[0])

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def onnxruntime_python(options):
    """The interpreter of a virtual environment with ONNX Runtime, made under the build tree; None if there is none."""
    folder = os.path.join(options.programs, "onnxruntime")
    python = os.path.join(folder, "bin", "python")
    if os.path.exists(os.path.join(folder, "complete")):
        return python
    if options.offline:
        return None
    print("bench: installing ONNX Runtime into", folder, file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *ONNXRUNTIME],
            check=True,
            timeout=600,
        )
    except (subprocess.SubprocessError, OSError) as error:
        print("bench: ONNX Runtime cannot be installed:", error, file=sys.stderr)
        return None
    open(os.path.join(folder, "complete"), "w", encoding="ascii").close()
    return python


def ggml_library(options):
    """libggml-cpu, built for this processor under the build tree from the source package of llama-cpp-python; None if it
    cannot be."""
    folder = os.path.abspath(os.path.join(options.programs, "ggml"))
    library = os.path.join(folder, "build", "src", "libggml-cpu.so")
    if os.path.exists(os.path.join(folder, "complete")):
        return library
    if options.offline:
        return None
    print("bench: building ggml in", folder, file=sys.stderr)
    python = os.path.join(folder, "venv", "bin", "python")
    quietly = {"check": True, "timeout": 1200, "stdout": subprocess.DEVNULL}
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", os.path.join(folder, "venv")], **quietly)
        subprocess.run([*pip, "install", "scikit-build-core"], **quietly)
        download = ["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", GGML]
        subprocess.run([*pip, *download, "-d", folder], **quietly)
        (archive,) = glob.glob(os.path.join(folder, "llama_cpp_python-*.tar.gz"))
        subprocess.run(["tar", "xzf", archive, "-C", folder], **quietly)
        source = os.path.join(archive[: -len(".tar.gz")], "vendor", "llama.cpp", "ggml")
        open(os.path.join(source, "ggml.pc.in"), "a", encoding="ascii").close()  # the package leaves it out
        made = os.path.join(folder, "build")
        switches = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DGGML_BUILD_TESTS=OFF", "-DGGML_BUILD_EXAMPLES=OFF"]
        subprocess.run(["cmake", "-S", source, "-B", made, *switches], **quietly)
        subprocess.run(["cmake", "--build", made, "--target", "ggml-cpu", "-j2"], **quietly)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        print("bench: ggml cannot be built:", error, file=sys.stderr)
        return None
    open(os.path.join(folder, "complete"), "w", encoding="ascii").close()
    return library


def start_servers(options, peers):
    cores = str(len(os.sched_getaffinity(0)))
    pocl = {"POCL_AFFINITY": "1"}
    python = onnxruntime_python(options)
    ggml = ggml_library(options) if "ggml" in peers else None
    servers = {
        "pare": Server([program(options, "serve_pare")], pocl),
        "openblas": Server([program(options, "serve_openblas")], {"OPENBLAS_NUM_THREADS": cores}),
        "clblast": Server([program(options, "serve_clblast")], pocl),
        "memory": Server([program(options, "serve_memory")], {}),
        "nth_element": Server([program(options, "serve_nth_element")], {}),
        "ggml": Server([program(options, "serve_ggml")], {"BENCH_GGML": ggml or ""}),
        "onnxruntime": Server([python or "onnxruntime", os.path.join(HERE, "serve_onnxruntime.py")], {}),
    }
    if ggml is None:
        servers["ggml"].missing = "ggml cannot be built (no network, no CMake?)"
    if python is None:
        servers["onnxruntime"].missing = "ONNX Runtime cannot be installed (no network?)"
    return servers


def program(options, name):
    return os.path.join(options.programs, name)


def core_distance(options):
    try:
        return int(
            subprocess.run([program(options, "core_distance")], check=True, capture_output=True, text=True).stdout
        )
    except (OSError, subprocess.CalledProcessError, ValueError):
        return -1


def state_of(distance_ns):
    """near, far, or busy: other work keeps one of the cores."""
    if distance_ns <= 0:
        return "unknown" if distance_ns < 0 else "one core"
    return "near" if distance_ns < NEAR_NS else "far" if distance_ns < BUSY_NS else "busy"


def time_rounds(problem, servers, options):
    """seconds[side][round]; None for a side that is missing, with its reason in missing[side]."""
    seconds, missing = [[] for _ in problem.sides], {}
    for _ in range(options.rounds):
        for i, side in enumerate(problem.sides):
            if i in missing:
                continue
            try:
                seconds[i].append(servers[side.server].ask(side.work, options.slice))
            except Missing as reason:
                missing[i] = str(reason)
            time.sleep(PAUSE_SECONDS)
    return [None if i in missing else values for i, values in enumerate(seconds)], missing


def spread(values):
    """How far the middle half of the values reaches, relative to the median."""
    if len(values) < 3:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def time_problem(problem, servers, options):
    """One row of the report, timed once more if it was not steady."""
    for attempt in range(2):
        before = core_distance(options)
        seconds, missing = time_rounds(problem, servers, options)
        after = core_distance(options)
        row = {"problem": problem.name, "core_distance_ns": [before, after], "attempts": attempt + 1, "sides": []}
        unsteady = state_of(before) != state_of(after)
        for i, side in enumerate(problem.sides):
            figure = {"name": side.role or "pare", "work": side.work}
            if seconds[i] is None:
                figure["missing"] = missing[i]
            else:
                figure["seconds"] = statistics.median(seconds[i])
                figure["rate"] = side.amount / figure["seconds"] / 1e9
                if side.role and seconds[0] is not None:
                    scale = problem.sides[0].amount / side.amount
                    ratios = [scale * theirs / ours for ours, theirs in zip(seconds[0], seconds[i])]
                    figure["ratio"], figure["spread"] = statistics.median(ratios), spread(ratios)
                    unsteady = unsteady or figure["spread"] > STEADY
            row["sides"].append(figure)
        row["state"] = state_of(before) if not unsteady or state_of(before) == state_of(after) else "changing"
        if not unsteady or options.quick:
            break
    return row


def print_row(row):
    cells = []
    for figure in row["sides"]:
        if "missing" in figure:
            cells.append(f"{figure['name']}: missing")
        elif "ratio" in figure:
            mark = "~" if figure["spread"] > STEADY else ""
            cells.append(f"{figure['name']} {figure['rate']:.1f} ({mark}{figure['ratio']:.2f}x)")
        else:
            cells.append(f"{figure['name']} {figure['rate']:.1f}")
    print(f"  {row['problem']:<20} {row['state']:<8} " + "   ".join(cells), flush=True)


AGGREGATES = {"median": statistics.median, "geometric mean": statistics.geometric_mean, "least": min}


def judge(group, report, quick):
    """The group's ratio to each peer and whether it is what was asked for; None where a side is missing, and in a quick
    run, which leaves out most of what the target is about."""
    peers = dict.fromkeys(side.role for problem in group.problems for side in problem.sides[1:])
    results = []
    for peer in peers:
        figures = [figure for row in report for figure in row["sides"] if figure["name"] == peer]
        ratios = [figure["ratio"] for figure in figures if "ratio" in figure]
        result = {"peer": peer, "target": group.targets.get(peer), "ratio": None, "met": None}
        if ratios and len(ratios) == len(figures):
            result["ratio"] = AGGREGATES[group.aggregate](ratios)
            if result["target"] is not None and not quick:
                result["met"] = result["ratio"] >= result["target"]
        else:
            result["missing"] = next(
                (figure["missing"] for row in report for figure in row["sides"] if "missing" in figure), ""
            )
        results.append(result)
    return results


def run_group(group, servers, options):
    problems = [problem for problem in group.problems if problem.quick or not options.quick]
    print(f"{group.title} ({group.unit})")
    report = []
    for problem in problems:
        report.append(time_problem(problem, servers, options))
        print_row(report[-1])
    results = judge(group, report, options.quick)
    for result in results:
        asked = "" if result["target"] is None else f", asked {result['target']:.2f}x: {verdict(result['met'], options)}"
        ratio = f"missing ({result['missing']})" if result["ratio"] is None else f"{result['ratio']:.2f}x"
        print(f"  {group.aggregate} against {result['peer']}: {ratio}{asked}")
    print(flush=True)
    return {
        "name": group.name,
        "title": group.title,
        "unit": group.unit,
        "aggregate": group.aggregate,
        "rows": report,
        "results": results,
    }


def verdict(met, options):
    if met is None:
        return "not judged, as the run is a quick one" if options.quick else "not judged"
    return "met" if met else "MISSED"


def time_first_result(options, servers, rounds):
    """Wall time of a process that makes one product and reads it: in a fresh home folder, then again in the same."""
    if not os.path.exists(program(options, "first_result")):
        raise Missing("first_result is not built")
    cold, warm = [], []
    for _ in range(rounds):
        home = tempfile.mkdtemp(prefix="pare-bench-")
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "POCL_CACHE", "PARE_CACHE"))
        }
        environment.update(HOME=home, POCL_AFFINITY="1")
        try:
            for times in (cold, warm, warm, warm):
                start = time.perf_counter()
                subprocess.run(
                    [program(options, "first_result")], check=True, env=environment, stdout=subprocess.DEVNULL
                )
                times.append(time.perf_counter() - start)
        except subprocess.CalledProcessError as error:
            raise Missing(f"first_result stopped with status {error.returncode}") from error
        finally:
            shutil.rmtree(home, ignore_errors=True)
    return statistics.median(cold), statistics.median(warm)


def run_latencies(servers, options):
    figures = {}
    try:
        figures["chain"] = (
            statistics.median(servers["pare"].ask("chain 1000 1024", options.slice) for _ in range(options.rounds))
            / 1000
        )
    except Missing as reason:
        figures["chain"] = reason
    try:
        figures["first-cold"], figures["first-warm"] = time_first_result(options, servers, 1 if options.quick else 3)
    except Missing as reason:
        figures["first-cold"] = figures["first-warm"] = reason
    report = []
    print("latencies (seconds)")
    for name, (title, limit) in rows.LATENCIES.items():
        seconds = figures[name]
        entry = {"name": name, "title": title, "limit_seconds": limit}
        if isinstance(seconds, Missing):
            entry.update(missing=str(seconds), met=None)
            print(f"  {title}: missing ({seconds})")
        else:
            entry.update(seconds=seconds, met=None if options.quick else seconds <= limit)
            print(f"  {title}: {seconds:.3g} s, asked {limit:g} s: {verdict(entry['met'], options)}")
        report.append(entry)
    print(flush=True)
    return report


def cpu_facts():
    facts = {"model": platform.processor() or platform.machine(), "flags": set()}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    facts["model"] = value.strip()
                elif key.strip() == "flags":
                    facts["flags"] = set(value.split())
    except OSError:
        pass
    return facts


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("groups", nargs="*", help="names of groups (default: all), such as sgemm or latency")
    parser.add_argument("--programs", required=True, help="folder of the built servers")
    parser.add_argument("--json", metavar="FILE", help="write the report")
    parser.add_argument("--quick", action="store_true", help="few problems and rounds: about a minute, judges nothing")
    parser.add_argument("--rounds", type=int, help="turns of every side (default: 7, quick: 3)")
    parser.add_argument("--slice", type=float, help="seconds of a turn (default: 0.25, quick: 0.1)")
    parser.add_argument("--offline", action="store_true", help="install nothing")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.slice = options.slice or (0.1 if options.quick else 0.25)
    return options


def main():
    options = parse_options()
    cpu = cpu_facts()
    groups = rows.all_groups("avx512_vnni" in cpu["flags"] or "avx_vnni" in cpu["flags"])
    known = [group.name for group in groups] + ["latency"]
    for name in options.groups:
        if name not in known:
            print(f"bench: no group {name}; there are {', '.join(known)}", file=sys.stderr)
            return 2
    chosen = [group for group in groups if not options.groups or group.name in options.groups]
    peers = {side.server for group in chosen for problem in group.problems for side in problem.sides}
    servers = start_servers(options, peers)
    distance = core_distance(options)
    cores = len(os.sched_getaffinity(0))
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    print(
        f"{cpu['model']}, {cores} cores, load {os.getloadavg()[0]:.2f}, {date}; "
        f"a round trip between two cores takes {distance} ns: {state_of(distance)}\n"
        "(near, far, busy, changing: the cores' state at each figure; ~: it moved by more than 10 %, do not rely on it)\n"
    )
    report = {
        "date": date,
        "machine": {
            "cpu": cpu["model"],
            "cores": cores,
            "core_distance_ns": distance,
            "load": os.getloadavg()[0],
            "kernel": platform.release(),
        },
        "quick": options.quick,
        "rounds": options.rounds,
        "slice_seconds": options.slice,
        "groups": [],
        "latencies": [],
    }
    try:
        for group in chosen:
            report["groups"].append(run_group(group, servers, options))
        if not options.groups or "latency" in options.groups:
            report["latencies"] = run_latencies(servers, options)
    finally:
        for server in servers.values():
            server.close()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as out:
            json.dump(report, out, indent=2)
            out.write("\n")
    verdicts = [result["met"] for group in report["groups"] for result in group["results"]]
    verdicts += [entry["met"] for entry in report["latencies"]]
    return 1 if False in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
