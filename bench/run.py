#!/usr/bin/env python3
"""Time dlfs beside PyTorch (CPU, eager), in turn, in one run, on the same threads.

usage: python bench/run.py [--threads N] [--only NAME] [--quick]

Prints a table of ratios (dlfs / PyTorch; below 1 dlfs is ahead) and writes bench/results/engine.json
(with DLFS_KERNELS=array, that is without the kernels in C: engine_numpy.json).
Only ratios mean anything: the machine may be shared. The two sides are two processes that work in turn, so
that the waiting threads of one do not slow the other. Each row times several instances of each side, since
where the allocator puts one instance's arrays can move its time by half; an instance's time is its best,
a side's time the median over its instances.
"""
import argparse, json, os, platform, statistics, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
parser.add_argument("--only", help="run only the rows whose name contains this")
parser.add_argument("--quick", action="store_true", help="fewer instances and rounds, and no file written")
parser.add_argument("--serve", choices=("dlfs", "torch"), help=argparse.SUPPRESS)
parser.add_argument("--memory-of", choices=("dlfs", "torch"), help=argparse.SUPPRESS)
parser.add_argument("--batch", type=int, default=128, help=argparse.SUPPRESS)
args = parser.parse_args()
for v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"): os.environ[v] = str(args.threads)
sys.path.insert(0, str(ROOT))
import numpy as np


def library(name):
    if name == "dlfs": import dlfs; return dlfs
    import torch
    torch.set_num_threads(args.threads)
    return torch


rng = np.random.default_rng(0)
def array(*shape): return rng.standard_normal(shape, np.float32)

# --- workloads: each makes one instance for one library, and returns its step ---

def small(op):
    def make(L):
        x, y = (L.from_numpy(array(64, 64)).requires_grad_() for _ in range(2))
        g = L.ones(64, 64)
        def step(): op(x, y).backward(g); x.grad = y.grad = None
        return step
    return make

def mlp(L, batch=128):
    nn, optim = module(L, "nn"), module(L, "optim")
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    opt, loss_fn = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    x, t = L.from_numpy(array(batch, 784)), L.from_numpy(rng.integers(0, 10, batch))
    def step():
        opt.zero_grad()
        loss = loss_fn(model(x), t)
        loss.backward()
        opt.step()
        return loss
    return step

def functional(name, *shape, extra=lambda L, F: (), **kw):
    "Forward and backward of a function of nn.functional, the gradients of all floating arguments included."
    def make(L):
        F = module(L, "nn.functional")
        f = name if callable(name) else lambda F, *xs: getattr(F, name)(*xs, **kw)
        x = L.from_numpy(array(*shape)).requires_grad_()
        xs = [x, *extra(L, F)]
        g = L.from_numpy(array(*f(F, *xs).shape))
        leaves = [x for x in xs if getattr(x, "requires_grad", False)]
        def step():
            f(F, *xs).backward(g)
            for x in leaves: x.grad = None
        return step
    return make

def module(L, name):
    from importlib import import_module
    return import_module(f"{L.__name__}.{name}")

def leaves(*shapes): return lambda L, F: [L.from_numpy(array(*s)).requires_grad_() for s in shapes]
def classes(n, c): return lambda L, F: [L.from_numpy(rng.integers(0, c, n))]
def with_bias(F, x, b): return F.bias_act(x, b, "relu") if hasattr(F, "bias_act") else F.relu(x + b)

def embedding(L):
    F, w = module(L, "nn.functional"), L.from_numpy(array(50_000, 256)).requires_grad_()
    i, g = L.from_numpy(rng.integers(0, 50_000, 8192)), L.from_numpy(array(8192, 256))
    def step(): F.embedding(i, w).backward(g); w.grad = None
    return step

def summed(dim):
    def make(L):
        x = L.from_numpy(array(4096, 1000))
        return lambda: x.sum(dim)
    return make

def adamw(L):
    p = module(L, "nn").Parameter(L.from_numpy(array(10_000_000)))
    p.grad = L.from_numpy(array(10_000_000))
    return module(L, "optim").AdamW([p]).step

#        name                       make                          steps  instances  goal
ROWS = [("add 64x64",               small(lambda x, y: x + y),      200, 5, 1.0),
        ("multiply 64x64",          small(lambda x, y: x * y),      200, 5, 1.0),
        ("matmul 64x64",            small(lambda x, y: x @ y),      200, 5, 1.0),
        ("MLP training step",       mlp,                             30, 7, 1.0),
        ("softmax 4096x1000",       functional("softmax", 4096, 1000, dim=-1), 2, 5, 1.0),
        ("cross-entropy 4096x1000", functional("cross_entropy", 4096, 1000, extra=classes(4096, 1000)), 2, 5, 1.0),
        ("layer norm 4096x768",     functional(lambda F, x, w, b: F.layer_norm(x, (768,), w, b), 4096, 768, extra=leaves((768,), (768,))), 2, 5, 1.0),
        ("GELU 4096x768",           functional("gelu", 4096, 768),    2, 5, 1.0),
        ("AdamW step, 10 M",        adamw,                            1, 3, 1.0),
        ("attention 8x8x256x64",    functional("scaled_dot_product_attention", 8, 8, 256, 64, extra=leaves(*[(8, 8, 256, 64)] * 2), is_causal=True), 2, 5, 1.0),
        ("bias + ReLU 4096x768",    functional(with_bias, 4096, 768, extra=leaves((768,))), 2, 5, None),
        ("embedding 8192 of 50000x256", embedding,                    2, 5, None),
        ("dropout 4096x768",        functional("dropout", 4096, 768), 2, 5, None),
        ("row sums 4096x1000",      summed(1),                       10, 5, None),
        ("column sums 4096x1000",   summed(0),                       10, 5, None)]


def timed(step, steps):
    t0 = time.perf_counter()
    for _ in range(steps): step()
    return (time.perf_counter() - t0) / steps

class Side:
    "A process with one of the two libraries, so that neither's waiting threads disturb the other; it works only when asked."
    def __init__(self, name):
        self.process = subprocess.Popen([sys.executable, __file__, "--threads", str(args.threads), "--serve", name],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    def ask(self, *what):
        print(*what, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer: sys.exit("bench: a side has died; its message stands above")
        return float(answer)
    def close(self): self.process.stdin.close(); self.process.wait()

def serve(side):
    "Answer `row instance` with the seconds of a step, the best of those within a second, until the input ends."
    L, steps = library(side), {}
    for line in sys.stdin:
        row, i = map(int, line.split())
        _, make, n, _, _ = ROWS[row]
        if (row, i) not in steps:
            if i == 0: steps.clear()
            steps[row, i] = make(L)
            steps[row, i]()
        best, until = float("inf"), time.perf_counter() + (0.2 if args.quick else 0.8)  # PyTorch's threads need hundreds of steps to settle
        while time.perf_counter() < until: best = min(best, timed(steps[row, i], n))
        print(best, flush=True)

def compare(row, instances, rounds=3):
    if args.quick: instances, rounds = min(instances, 2), 1
    sides = {name: Side(name) for name in ("dlfs", "torch")}
    best = {name: [min(ts) for ts in zip(*rows)] for name, rows in _turns(row, sides, instances, rounds).items()}
    for side in sides.values(): side.close()
    mid = {name: statistics.median(ts) for name, ts in best.items()}
    return mid["dlfs"] / mid["torch"]

def _turns(row, sides, instances, rounds):
    times = {name: [] for name in sides}
    for _ in range(rounds):
        for name in sides: times[name].append([])
        for i in range(instances):
            for name, side in sides.items(): times[name][-1].append(side.ask(row, i))
    return times

# --- memory: a fresh process a side, so that one's allocator does not serve the other ---

def resident(field):
    "Memory of this process from /proc, in bytes."
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith(field))

def peak_of_mlp(side, batch):
    "Bytes by which the peak of three training steps exceeds what stood before the model was made."
    L = library(side)
    warm = mlp(L, batch=2); warm()           # load the libraries' own pools and code first; kept, so that its memory is not reused
    before = resident("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # start the high-water mark anew
    step = mlp(L, batch)
    for _ in range(3): step()
    return resident("VmHWM") - before

def memory(batch):
    sizes = {}
    for side in ("dlfs", "torch"):
        runs = [int(subprocess.run([sys.executable, __file__, "--threads", str(args.threads), "--memory-of", side, "--batch", str(batch)],
                                   capture_output=True, text=True, check=True).stdout) for _ in range(3)]
        sizes[side] = statistics.median(runs)
    return sizes["dlfs"] / sizes["torch"], sizes

def import_time():
    "Seconds that `import dlfs` takes beyond `import numpy`: the best of several fresh processes."
    code = "import time, numpy; t = time.perf_counter(); import dlfs; print(time.perf_counter() - t)"
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    return min(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout) for _ in range(5))


def main():
    if args.serve: return serve(args.serve)
    if args.memory_of: return print(peak_of_mlp(args.memory_of, args.batch))
    try: import torch
    except ImportError: sys.exit("bench: PyTorch is not installed; `make test` installs the peers, then run `make bench` again")
    results = []
    def report(name, ratio, goal, unit="x"):
        results.append(dict(name=name, ratio=round(ratio, 3), goal=goal, unit=unit))
        print(f"{name:34} {ratio:7.2f} {unit}   {'' if goal is None else f'goal {goal:.1f}: ' + ('reached' if ratio <= goal else 'missed')}", flush=True)
    print(f"dlfs / PyTorch {torch.__version__}, {args.threads} threads")
    for row, (name, _, _, instances, goal) in enumerate(ROWS):
        if args.only is None or args.only in name: report(name, compare(row, instances), goal)
    if sys.platform == "linux":
        for batch in (128, 4096):
            name = f"peak memory, MLP step, batch {batch}"
            if args.only is None or args.only in name: report(name, memory(batch)[0], 1.2)
    if args.only is None or args.only in "import dlfs": report("import dlfs, beyond NumPy's own", import_time(), 0.3, "s")
    if args.quick or args.only: return
    out = ROOT / "bench" / "results" / ("engine_numpy.json" if os.environ.get("DLFS_KERNELS") == "array" else "engine.json")
    out.parent.mkdir(exist_ok=True)
    versions = dict(python=platform.python_version(), numpy=np.__version__, torch=torch.__version__)
    out.write_text(json.dumps(dict(threads=args.threads, versions=versions, results=results), indent=1) + "\n")
    print(f"written to {out.relative_to(ROOT)}")

if __name__ == "__main__": main()
