#!/usr/bin/env python3
"""Times the scheduler. SPDX-License-Identifier: Apache-2.0

  sched.py PARE PROGRAMS [--models FOLDER] [--rounds N] [--small] [--json FILE] [ROW...]

Rows: a group (overhead, simulation, two, four, drivers, one, disturbed) or one of its rows (two-gemm, four-lost, ...; --list). Sides
run A B A B in processes of their own, each for some tenths of a second, so that what slows the machine for longer slows all sides of a
round; a ratio is the median of those of the rounds, and so are times. What is timed while others (the hypervisor, other processes) have
more than a twentieth of a core is timed again, up to five times. Co-execution is timed on a throttled bed: parts of the CPU that
the fault layer lets work a set share of the time, so that together they need less than 1.8 cores; what a kernel waits for a core is a
part of its pause, so that devices do not share cores. T_i is the time of one of them
alone, throttled likewise; ideal is 1 / sum(1 / T_i), ratio is ideal / measured. by_hand_ratio is what the bed gives without a
scheduler: a piece a device, cut by what the runs before took (serve_by_hand). --models is a folder as
tests/models/prepare.py makes it; --small proves that the rows work, its figures say nothing. For the two drivers OCL_ICD_VENDORS has
to list both.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

DRIVER = os.environ.get("PARE_DEVICE", "pocl").split("/")[0]
HERE = os.path.dirname(os.path.abspath(__file__))

# Members of a bed, by driver, the share of the time that each works, and what the driver has to be told.
BEDS = {
    "two": ([DRIVER] * 2, (1.0, 0.5), {"POCL_AFFINITY": "1"}),
    "four": ([DRIVER] * 4, (0.45, 0.45, 0.3, 0.2), {"POCL_MAX_PTHREAD_COUNT": "4"}),
    "drivers": (["pocl", "pocl", "intel", "intel"], (0.45, 0.3, 0.45, 0.2), {}),
}
STARPU_POLICIES = ("eager", "lws")
TRIES = 5
GEMM, ROWS, EVEN = "gemm 2048 1024 1024", "rows 65536 500 16", (65536, 6000)
DRIVERS_ROWS = "rows 65536 4000 16"  # Intel's runtime runs eight or more of them at once, in a vector
SMALL_GEMM, SMALL_ROWS, SMALL_EVEN = "gemm 256 128 128", "rows 8192 50 16", (8192, 300)


class Missing(Exception):
    """What a row needs and does not find."""


def run(command, env, seconds=120):
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=seconds)
    if done.returncode != 0:
        raise Missing((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    return done.stdout


def foreign(live):
    """Seconds of cores that went to others since the machine started: stolen by the hypervisor, or used by processes that are not ours."""
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    own = sum(os.times()[:4])
    for process in live:
        with open(f"/proc/{process.pid}/stat") as stat:
            own += sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) / ticks
    return (user + nice + system + irq + softirq + steal) / ticks - own


def undisturbed(side, live):
    """What the side gives when others have less than a twentieth of a core, or the least of some tries."""
    tried = []
    for _ in range(TRIES):
        before, begin = foreign(live), time.perf_counter()
        value = side()
        tried.append(((foreign(live) - before) / (time.perf_counter() - begin), value))
        if tried[-1][0] < 0.05:
            break
    return min(tried)[1]


def in_rounds(sides, rounds, live=()):
    """Calls the sides in turn: what each gave, by rounds. live: processes that serve them."""
    return [[undisturbed(side, live) for side in sides] for _ in range(rounds)]


def medians(rows):
    return [statistics.median(column) for column in zip(*rows)]


def figure(name, ratios, asked, measured, ideal, **more):
    """ratios: of each round, how near to the ideal; times in seconds."""
    return {"row": name, "measured_ms": measured * 1e3, "ideal_ms": ideal * 1e3, "ratio": statistics.median(ratios),
            "from": min(ratios), "to": max(ratios), "asked": asked, **more}


# ---- the throttled bed ----

class Bed:
    """A cache folder of its own keeps what is learned of slowed devices from the user's, and the other way round."""

    def __init__(self, name, options):
        self.drivers, self.duties, self.more = BEDS[name]
        self.options = options
        layer = os.path.abspath(os.path.join(options.programs, "..", ".libs", "fault_layer.so"))
        if not os.path.exists(layer):
            raise Missing(f"no {layer}: make tests/fault_layer.la")
        folder = os.path.join(options.scratch, name)
        if not os.path.exists(folder):
            self.share_cache(folder)
        self.more = dict(self.more, OPENCL_LAYERS=layer, PARE_CACHE=folder)

    @staticmethod
    def share_cache(folder):
        """All that the user's cache holds but the models of performance."""
        os.mkdir(folder)
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        known = os.environ.get("PARE_CACHE") or os.path.join(home, "pare")
        for entry in os.listdir(known) if os.path.isdir(known) else []:
            if not entry.startswith("performance"):
                os.symlink(os.path.join(known, entry), os.path.join(folder, entry))

    def environment(self, member=None):
        """Of all members, or of one: it is then the first of two and alone."""
        if member is None:
            terms, duties, i = [], self.duties, 0
            while i < len(self.drivers):  # neighbours of one driver are parts of one device
                count = sum(driver == self.drivers[i] for driver in self.drivers)
                terms.append(self.drivers[i] + "/" + "+".join(["1"] * count))
                i += count
            selector = ",".join(terms)
        else:
            selector, duties = f"{self.drivers[member]}/1+1", (self.duties[member], 1.0)
        return dict(os.environ, **self.more, PARE_DEVICE=selector, PARE_FAULT_DUTY=",".join(map(str, duties)))

    def sides(self, open_side):
        """open_side(environment, parallel) for each member alone, and for all."""
        alone = [open_side(self.environment(i), "off") for i in range(len(self.drivers))]
        return alone + [open_side(self.environment(), "auto")]


class Server:
    """serve_sched, serve_by_hand or serve_starpu_shared, told to time one work; stopped but for its turns: StarPU's workers look for work all the time."""

    def __init__(self, options, work, environment, program, *arguments):
        self.name, self.line = program, "{0} {2} {1}".format(*work.split(" ", 1), 0.05 if options.small else 0.3)
        self.process = subprocess.Popen([f"{options.programs}/{program}", os.path.join(HERE, "irregular.cl"), *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def __call__(self):
        self.process.send_signal(signal.SIGCONT)
        try:
            print(self.line, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline().split()
        except BrokenPipeError:
            answer = []
        self.process.send_signal(signal.SIGSTOP)
        if not answer or answer[0] == "none":
            raise Missing(f"{self.name}: {' '.join(answer)}")
        return float(answer[0])

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


def ideal(alone):
    return 1 / sum(1 / taken for taken in alone)


def coexecution(name, rows, asked, **more):
    """rows: by rounds, the times of each alone and of all together."""
    seen = medians(rows)
    return figure(name, [ideal(row[:-1]) / row[-1] for row in rows], asked, seen[-1], ideal(seen[:-1]),
                  alone_ms=[1e3 * taken for taken in seen[:-1]], **more)


def best_starpu(options, bed, work):
    """StarPU on the bed, with the policy and the number of pieces that suit the work best, and what they are."""
    if not os.access(f"{options.programs}/serve_starpu_shared", os.X_OK):
        raise Missing("no StarPU (libstarpu-dev)")
    # a worker is a device, not a core: it is told of as many cores as there are devices
    env = dict(bed.environment(), STARPU_SILENT="1", STARPU_WORKERS_NOBIND="1", HWLOC_SYNTHETIC=f"core:{len(bed.drivers)} pu:1")
    tried = []
    for policy in STARPU_POLICIES:
        for pieces in ("4", "8", "16", "32", "64"):
            server = Server(options, work, env, "serve_starpu_shared", policy, pieces)
            try:
                server()
                tried.append((server(), policy, pieces))
            finally:
                server.close()
    _, policy, pieces = min(tried)
    return Server(options, work, env, "serve_starpu_shared", policy, pieces), f"{policy} of {pieces} pieces"


def served(name, options, work, asked):
    bed, more = Bed(name.split("-")[0], options), {}
    servers = bed.sides(lambda environment, parallel: Server(options, work, environment, "serve_sched", parallel))
    try:
        for server in servers:  # builds kernels, learns speeds
            server()
        count, by_hand = len(bed.drivers), Server(options, work, bed.environment(), "serve_by_hand")
        servers.append(by_hand)
        for _ in range(3):  # finds its shares
            by_hand()
        try:
            peer, more["starpu"] = best_starpu(options, bed, work)
            servers.append(peer)
        except Missing as problem:
            more["starpu"] = str(problem)
        rows = in_rounds(servers, options.rounds, [server.process for server in servers])
        for side, at in (("by_hand_ratio", count + 1), ("starpu_ratio", count + 2)):
            if at < len(servers):
                more[side] = coexecution(name, [[*row[:count], row[at]] for row in rows], asked)["ratio"]
        yield coexecution(name, [row[:count + 1] for row in rows], asked, **more)
    finally:
        for server in servers:
            server.close()


def gemm(name, options, asked):
    yield from served(name, options, SMALL_GEMM if options.small else GEMM, asked)


def rows(name, options, asked):
    large = DRIVERS_ROWS if name.startswith("drivers") else ROWS
    yield from served(name, options, SMALL_ROWS if options.small else large, asked)


# ---- models ----

def encoder(options):
    path = os.path.join(options.models, "encoder.onnx")
    if options.small:
        return os.path.join(HERE, "..", "data", "digits", "digits.onnx")
    if not os.path.exists(path):
        raise Missing(f"no {path}: make real-models, or --models FOLDER")
    return path


def bench(options, environment, parallel, batch, seconds, model=None):
    """Seconds that a run of a model takes; without one, a batch of the encoder's inputs."""
    shape = ["--shape", f"batch={batch}"] if not model else []
    if not model and not options.small:
        shape += ["--shape", "seq=32"]
    out = run([options.pare, "bench", model or encoder(options), *shape, "--parallel", parallel, "--warmup", f"{seconds / 2}s",
               "--duration", f"{seconds}s", "--json", "-q"], environment)
    return json.loads(out)[0]["median_ms"] / 1e3


def batch(name, options, asked):
    count, seconds = (16, 0.05) if options.small else (256, 1)
    sides = Bed(name.split("-")[0], options).sides(
        lambda environment, parallel: lambda: bench(options, environment, "off" if parallel == "off" else "data", count, seconds))
    sides[-1]()  # learns speeds
    yield coexecution(name, in_rounds(sides, options.rounds), asked)


def compress(name, options, asked):
    def open_side(environment, parallel):
        small = os.path.join(options.scratch, "compressed.onnx")
        command = [options.pare, "compress", encoder(options), small, "--prune", "2:4", "--quantize", "int4", "--no-verify",
                   "--parallel", parallel, "--json", "-q"]
        return lambda: json.loads(run(command, environment))["seconds"]
    sides = Bed(name.split("-")[0], options).sides(open_side)
    for side in sides:
        side()
    yield coexecution(name, in_rounds(sides, options.rounds), asked)


def beside(name, sides, options, asked):
    """Two sides: the first is what the second should be."""
    rows = in_rounds(sides, options.rounds)
    first, second = medians(rows)
    yield figure(name, [row[0] / row[1] for row in rows], asked, second, first)


def halves(name, options, asked):
    """Two halves of the CPU, not throttled, beside the whole."""
    count, seconds = (16, 0.05) if options.small else (32, 2)
    pair = [dict(os.environ, POCL_AFFINITY="1", PARE_DEVICE=DRIVER + parts) for parts in ("", "/1+1")]
    bench(options, pair[1], "auto", count, seconds)
    yield from beside(name, [lambda env=env: bench(options, env, "auto", count, seconds) for env in pair], options, asked)


def alone(name, options, asked):
    """One device, told to schedule or told not to."""
    env, seconds = dict(os.environ, POCL_AFFINITY="1", PARE_DEVICE=DRIVER), 0.05 if options.small else 1
    yield from beside(name, [lambda how=how: bench(options, env, how, 1, seconds) for how in ("off", "auto")], options, asked)


def branches(name, options, asked):
    """Two towers on two halves of the CPU beside one half, of whose time the longest way is the ideal."""
    try:
        import chains
    except ImportError as problem:
        raise Missing("the towers are made with the Python package onnx") from problem
    path, seconds = os.path.join(options.scratch, "towers.onnx"), 0.05 if options.small else 3
    longest = chains.write_towers(path, *((16, 64) if options.small else ()))
    env = dict(os.environ, POCL_AFFINITY="1", PARE_DEVICE=DRIVER + "/1+1")
    def side(how, part):
        return lambda: part * bench(options, env, how, None, seconds, path)
    yield from beside(name, [side("off", longest), side("task", 1)], options, asked)


# ---- a device lost, or slowed to a third, when half of the work is done ----

def disturbed(name, options, asked):
    bed, what, member = Bed("four", options), name.split("-")[1], 1
    nrows, steps = SMALL_EVEN if options.small else EVEN
    servers = [Server(options, f"rows {nrows} {steps} 1", bed.environment(i), "serve_sched", "off") for i in range(len(bed.drivers))]
    try:
        for server in servers:
            server()
        rates = [1 / taken for taken in medians(in_rounds(servers, options.rounds, [server.process for server in servers]))]
    finally:
        for server in servers:
            server.close()
    command = [f"{options.programs}/serve_sched", os.path.join(HERE, "irregular.cl"), "auto", "slow" if what == "slowed" else "lose",
               str(member), str(nrows), str(steps), str(options.rounds)]
    left = sum(rates) - rates[member] * (2 / 3 if what == "slowed" else 1)
    seen = []
    for line in run(command, bed.environment()).splitlines():
        undisturbed, moment, taken = map(float, line.split())
        best = moment + max(1 - moment * sum(rates), 0) / left
        seen.append((best / taken, taken, best, 1 / sum(rates) / undisturbed))
    ratios, taken, best, alone = zip(*seen)
    yield figure(name, ratios, asked, statistics.median(taken), statistics.median(best), undisturbed_ratio=statistics.median(alone))


# ---- what the scheduler itself costs ----

def overhead(name, options, asked):
    """A job that does nothing, beside StarPU."""
    program, policies = ("serve_starpu", (*STARPU_POLICIES, "dmda")) if name == "overhead-starpu" else ("serve_crew", ("dmda", "hguided"))
    jobs = "20000" if options.small else "1000000" if program == "serve_crew" else "300000"
    if not os.access(f"{options.programs}/{program}", os.X_OK):
        raise Missing("no StarPU (libstarpu-dev)")
    env = dict(os.environ, STARPU_SILENT="1", STARPU_WORKERS_NOBIND="1")
    seen = {policy: [] for policy in policies}
    for _ in range(options.rounds):
        for policy in policies:
            seen[policy].append([float(value) for value in run([f"{options.programs}/{program}", policy, jobs], env).split("\t")[1:]])
    for policy, values in seen.items():
        independent, chain, nbytes = (statistics.median(column) for column in zip(*values))
        yield {"row": name, "side": policy, "independent_us": independent, "chain_us": chain, "bytes": nbytes, "asked": asked}


def simulation(name, options, asked):
    policy = name.split("-")[1]
    devices, tasks = (64, 10000) if policy == "heft" else (512, 1000000)
    machine = os.path.join(options.scratch, "machine")
    with open(machine, "w") as out:
        for i in range(devices):
            print(json.dumps({"device": f"d{i}", "rates": {"*": 1e9 * (1 + i % 7)}, "bandwidth": 1e10}), file=out)
    command = [options.pare, "-q", "simulate", "--machine", machine, "--random", f"tasks={tasks // (100 if options.small else 1)}",
               "--policy", policy]

    def side():
        begin = time.perf_counter()
        run(command, None)
        return time.perf_counter() - begin
    yield {"row": name, "measured_s": medians(in_rounds([side], options.rounds))[0], "asked": asked}


ROWS_OF = {  # how it is timed, and what is asked for
    "overhead-pare": (overhead, "1 and 2 microseconds, 300 bytes"), "overhead-starpu": (overhead, "the peer"),
    "simulation-dmda": (simulation, "5 s"), "simulation-hguided": (simulation, "5 s"), "simulation-heft": (simulation, "5 s"),
    "two-gemm": (gemm, 0.97), "two-rows": (rows, 0.97), "two-batch": (batch, 0.97), "two-compress": (compress, 0.95),
    "four-gemm": (gemm, 0.95), "four-rows": (rows, 0.95), "four-batch": (batch, 0.95), "four-compress": (compress, 0.95),
    "drivers-gemm": (gemm, 0.95), "drivers-rows": (rows, 0.95), "drivers-batch": (batch, 0.95),
    "drivers-compress": (compress, 0.95),
    "one-halves": (halves, 0.97), "one-alone": (alone, 0.99), "one-branches": (branches, 0.9),
    "disturbed-lost": (disturbed, 0.95), "disturbed-slowed": (disturbed, 0.93),
}


def show(found):
    def text(value):
        if isinstance(value, list):
            return "+".join(f"{part:.4g}" for part in value)
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    missed = isinstance(found["asked"], float) and found["ratio"] < found["asked"]
    print("  ".join(text(value) if key in ("row", "side") else f"{key} {text(value)}" for key, value in found.items())
          + ("  missed" if missed else ""), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pare")
    parser.add_argument("programs")
    parser.add_argument("row", nargs="*")
    parser.add_argument("--models", default="tests/models/built")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_intermixed_args()
    options.pare = os.path.abspath(options.pare)
    wanted = [name for name in ROWS_OF if not options.row or name in options.row or name.split("-")[0] in options.row]
    if options.list or not wanted:
        sys.exit("rows: " + " ".join(ROWS_OF))
    all_found = []
    with tempfile.TemporaryDirectory() as options.scratch:
        for name in wanted:
            measure, asked = ROWS_OF[name]
            try:
                for found in measure(name, options, asked):
                    all_found.append(found)
                    show(found)
            except (Missing, subprocess.TimeoutExpired) as problem:
                print(f"{name}: missing: {problem}", flush=True)
    if options.json:
        with open(options.json, "w") as out:
            json.dump(all_found, out, indent=1)


if __name__ == "__main__":
    main()
