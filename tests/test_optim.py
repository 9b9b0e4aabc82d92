"""Optimisers and schedules beside PyTorch's: the same gradients must lead along the same path."""
import copy, math
import numpy as np
import pytest
import dlfs

torch = pytest.importorskip("torch")
LIBS = (dlfs, torch)
pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = [("w1", (8, 5)), ("b1", (8,)), ("w2", (3, 8)), ("b2", (3,))]
DATA = np.random.default_rng(0).normal(size=(20, 5)), np.random.default_rng(1).normal(size=(20, 3))


def start(lib):
    "The parameters of a small network, the same in both libraries."
    rng = np.random.default_rng(7)
    return [lib.nn.Parameter(lib.from_numpy(rng.normal(size=s) / math.sqrt(s[-1]))) for _, s in SIZES]

def loss_of(lib, ps, step):
    "Mean squared error of the network on a batch that depends on the step."
    rows = np.random.default_rng(step).permutation(20)[:10]
    x, y = (lib.from_numpy(d[rows]) for d in DATA)
    w1, b1, w2, b2 = ps
    return ((lib.tanh(x @ w1.T + b1) @ w2.T + b2 - y) ** 2).mean()

def array(t): return np.asarray(t.detach().numpy())

def run(lib, make, steps=50, schedule=None, ps=None, opt=None, first=0, skip=()):
    "Train; the parameters after each step, as one array (steps, parameters)."
    ps = ps or start(lib)
    opt = opt or make(lib, ps)
    path = []
    for i in range(first, first + steps):
        opt.zero_grad()
        loss_of(lib, ps, i).backward()
        for j in skip: ps[j].grad = None                     # parameters that a step leaves out
        opt.step()
        if schedule: schedule(opt, i)
        path.append(np.concatenate([array(p).reshape(-1) for p in ps]))
    return np.array(path)

def follow(make, **kwargs):
    ours, theirs = (run(lib, make, **kwargs) for lib in LIBS)
    assert np.isfinite(theirs).all() and np.abs(theirs[-1] - theirs[0]).max() > 1e-6, "PyTorch's own path says nothing"
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)

CASES = [
    ("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.05, momentum=0.9)), ("SGD", dict(lr=0.05, momentum=0.9, nesterov=True)),
    ("SGD", dict(lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.01)), ("SGD", dict(lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=True)),
    ("SGD", dict(lr=0.05, maximize=True)), ("SGD", {}),
    ("Adagrad", {}), ("Adagrad", dict(lr=0.1, lr_decay=0.05, weight_decay=0.02)), ("Adagrad", dict(lr=0.1, initial_accumulator_value=0.5, eps=1e-3)),
    ("RMSprop", {}), ("RMSprop", dict(lr=0.02, alpha=0.9, eps=1e-4)), ("RMSprop", dict(lr=0.01, momentum=0.8, weight_decay=0.05)),
    ("RMSprop", dict(lr=0.01, centered=True)), ("RMSprop", dict(lr=0.01, centered=True, momentum=0.9)),
    ("Adam", {}), ("Adam", dict(lr=0.02, betas=(0.8, 0.9), eps=1e-4)), ("Adam", dict(lr=0.01, weight_decay=0.1)), ("Adam", dict(lr=0.01, amsgrad=True)),
    ("Adam", dict(lr=0.01, amsgrad=True, weight_decay=0.1)), ("Adam", dict(lr=0.01, maximize=True)),
    ("AdamW", {}), ("AdamW", dict(lr=0.02, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.3)), ("AdamW", dict(lr=0.02, amsgrad=True)), ("AdamW", dict(lr=0.02, weight_decay=0.0)),
    ("Adadelta", {}), ("Adadelta", dict(lr=0.5, rho=0.8, eps=1e-4)), ("Adadelta", dict(lr=0.7, weight_decay=0.05)),
]
ids = [f"{n}-{i}" for i, (n, _) in enumerate(CASES)]
ALL = ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Adadelta"]
def maker(name, options): return lambda lib, ps: getattr(lib.optim, name)(ps, **options)

@pytest.mark.parametrize("name, options", CASES, ids=ids)
def test_fifty_steps(name, options): follow(maker(name, options))

@pytest.mark.parametrize("name", ALL)
def test_parameter_without_gradient(name): follow(maker(name, dict(lr=0.05, weight_decay=0.1)), skip=(1,), steps=10)

@pytest.mark.parametrize("name", ALL)
def test_parameter_groups(name):
    def make(lib, ps):
        opt = getattr(lib.optim, name)([dict(params=ps[:2], lr=0.05), dict(params=ps[2], weight_decay=0.2)], lr=0.01)
        opt.add_param_group(dict(params=[ps[3]], lr=0.003))
        assert len(opt.param_groups) == 3 and [g["lr"] for g in opt.param_groups] == [0.05, 0.01, 0.003]
        return opt
    follow(make)

def test_learning_rate_changed_by_hand():
    def change(opt, i):
        for g in opt.param_groups: g["lr"] *= 0.9
    for name in ALL: follow(maker(name, dict(lr=0.05)), schedule=change, steps=20)

@pytest.mark.parametrize("name", ALL)
def test_defaults_and_group_entries(name):
    ours, theirs = (getattr(lib.optim, name)(start(lib)) for lib in LIBS)
    for k, v in ours.param_groups[0].items():
        if k != "params": assert theirs.param_groups[0][k] == v, k
    assert set(ours.defaults) <= set(theirs.defaults)

RICH = [("SGD", dict(lr=0.05, momentum=0.9)), ("Adagrad", dict(lr=0.1, lr_decay=0.1)), ("RMSprop", dict(lr=0.01, centered=True, momentum=0.9)),
        ("Adam", dict(lr=0.01, amsgrad=True)), ("AdamW", dict(lr=0.02)), ("Adadelta", dict(lr=0.7))]
@pytest.mark.parametrize("name, options", RICH, ids=[n for n, _ in RICH])
def test_state_dict_half_way(name, options):
    "25 steps, saved and loaded into an optimiser with other options, 25 more: as if nothing had happened."
    whole = run(dlfs, maker(name, options))
    ps = start(dlfs)
    opt = maker(name, options)(dlfs, ps)
    run(dlfs, None, 25, ps=ps, opt=opt)
    state = copy.deepcopy(opt.state_dict())
    other = [dlfs.nn.Parameter(p.detach().clone()) for p in ps]
    fresh = maker(name, dict(lr=3.0))(dlfs, other)
    fresh.load_state_dict(state)
    run(dlfs, None, 5, ps=ps, opt=opt, first=25)               # the old one goes on, and must not disturb the new one
    np.testing.assert_array_equal(run(dlfs, None, 25, ps=other, opt=fresh, first=25), whole[25:])
    assert fresh.param_groups[0]["lr"] == options["lr"]

@pytest.mark.parametrize("name, options", RICH, ids=[n for n, _ in RICH])
def test_state_dict_looks_like_pytorchs(name, options):
    states = []
    for lib in LIBS:
        ps = start(lib)
        opt = maker(name, options)(lib, ps)
        run(lib, None, 2, ps=ps, opt=opt)
        states.append(opt.state_dict())
    ours, theirs = states
    assert set(ours) == set(theirs) == {"state", "param_groups"}
    assert list(ours["state"]) == list(theirs["state"]) == [0, 1, 2, 3]
    assert [g["params"] for g in ours["param_groups"]] == [[0, 1, 2, 3]]
    for i, state in theirs["state"].items():
        for k, v in state.items():
            if v is not None and torch.is_tensor(v) and v.dim():
                assert k in ours["state"][i], f"state {k} of {name}"
                np.testing.assert_allclose(np.asarray(ours["state"][i][k]), v.numpy(), rtol=1e-9, atol=1e-12)

def test_state_dict_of_other_shape_is_refused():
    ps = start(dlfs)
    opt = dlfs.optim.Adam(ps)
    run(dlfs, None, 1, ps=ps, opt=opt)
    state = opt.state_dict()
    other = dlfs.optim.Adam(ps[:2])
    with pytest.raises(ValueError): other.load_state_dict(state)
    with pytest.raises(ValueError): dlfs.optim.Adam([dict(params=ps[:2]), dict(params=ps[2:])]).load_state_dict(state)

def test_closure():
    for name in ("SGD", "Adam"):
        ends = []
        for lib in LIBS:
            ps = start(lib)
            opt = getattr(lib.optim, name)(ps, lr=0.05)
            for i in range(5):
                def closure():
                    opt.zero_grad(); l = loss_of(lib, ps, i); l.backward(); return l
                value = opt.step(closure)
            ends.append((float(value), array(ps[0])))
        assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-9)
        np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-9)

def test_zero_grad():
    for lib in LIBS:
        ps = start(lib); opt = lib.optim.SGD(ps, lr=0.1)
        loss_of(lib, ps, 0).backward()
        opt.zero_grad(set_to_none=False); assert all(not array(p.grad).any() for p in ps)
        opt.zero_grad(); assert all(p.grad is None for p in ps)

def test_dtype_is_kept():
    for name in ALL:
        p = dlfs.nn.Parameter(dlfs.ones(3)); p.grad = dlfs.ones(3)
        opt = getattr(dlfs.optim, name)([p], lr=0.1)
        for _ in range(2): opt.step()
        assert p.dtype == dlfs.float32
        for v in opt.state_dict()["state"].get(0, {}).values():
            if hasattr(v, "dtype") and getattr(v, "ndim", 0): assert v.dtype == dlfs.float32

@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name, options", RICH, ids=[n for n, _ in RICH])
def test_large_parameters(name, options, threads, monkeypatch):
    "More numbers than fit into a block, or into one thread's share; and a parameter and a gradient that lie oddly in memory."
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    monkeypatch.setattr(dlfs.optim._pool, "pid", None, raising=False)            # count the threads again
    rng = np.random.default_rng(0)
    big, odd = rng.normal(size=1_100_003 if threads > 1 else 70_001), rng.normal(size=(50, 70)).T
    ends = []
    for lib in LIBS:
        ps = [lib.nn.Parameter(lib.from_numpy(big.copy())), lib.nn.Parameter(lib.from_numpy(odd.copy().T.copy().T))]
        opt = getattr(lib.optim, name)(ps, **options)
        for i in range(3):
            opt.zero_grad()
            for k, p in enumerate(ps): p.grad = lib.from_numpy(np.sin(np.arange(p.numel()) * (i + 1.0) + k).reshape(tuple(p.shape)[::-1]).T)
            opt.step()
        ends.append([array(p) for p in ps])
    for a, b in zip(*ends): np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)

def test_small_then_large():
    "Scratch memory that was made for one dtype and size must serve the next."
    for n, dtype in [(3, "float64"), (40_000, "float32"), (100_000, "float64"), (5, "float32")]:
        ends = []
        for lib in LIBS:
            p = lib.nn.Parameter(lib.from_numpy(np.linspace(-1, 1, n).astype(dtype)))
            opt = lib.optim.Adam([p], lr=0.1)
            for _ in range(2): p.grad = lib.from_numpy(np.cos(np.arange(n)).astype(dtype)); opt.step()
            ends.append(array(p))
        assert ends[0].dtype == dtype
        np.testing.assert_allclose(*ends, rtol=1e-5 if dtype == "float32" else 1e-9, atol=1e-6 if dtype == "float32" else 1e-12)

BAD = [("SGD", dict(lr=-0.1)), ("SGD", dict(lr=0.1, momentum=-1)), ("SGD", dict(lr=0.1, weight_decay=-1)), ("SGD", dict(lr=0.1, nesterov=True)), ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.1, nesterov=True)),
       ("Adam", dict(lr=-1)), ("Adam", dict(betas=(1.0, 0.9))), ("Adam", dict(betas=(0.9, -0.1))), ("Adam", dict(eps=-1)), ("Adam", dict(weight_decay=-1)),
       ("AdamW", dict(lr=-1)), ("AdamW", dict(betas=(0.9, 1.0))), ("RMSprop", dict(lr=-1)), ("RMSprop", dict(alpha=-1)), ("RMSprop", dict(momentum=-1)),
       ("Adagrad", dict(lr=-1)), ("Adagrad", dict(lr_decay=-1)), ("Adadelta", dict(rho=1.5)), ("Adadelta", dict(lr=-1))]
@pytest.mark.parametrize("name, options", BAD)
def test_bad_options(name, options):
    for lib in LIBS:
        with pytest.raises(ValueError): getattr(lib.optim, name)(start(lib), **options)

def test_bad_parameters():
    for lib in LIBS:
        with pytest.raises(ValueError): lib.optim.SGD([], lr=0.1)
        with pytest.raises(TypeError): lib.optim.SGD(lib.ones(3), lr=0.1)
        with pytest.raises(TypeError): lib.optim.SGD([3.0], lr=0.1)
        with pytest.raises(ValueError): lib.optim.SGD([lib.ones(2, requires_grad=True) * 2], lr=0.1)      # not a leaf
        p = lib.nn.Parameter(lib.ones(2))
        with pytest.raises(ValueError): lib.optim.SGD([dict(params=[p]), dict(params=[p])], lr=0.1)        # twice


# ---------------------------------------------------------------- schedules

def optimiser(lib, name="SGD", **options):
    a, b = lib.nn.Parameter(lib.ones(1)), lib.nn.Parameter(lib.ones(1))
    return getattr(lib.optim, name)([dict(params=[a]), dict(params=[b], lr=0.02)], lr=0.1, **options)

def rates(lib, make, steps=100, **options):
    opt = optimiser(lib, **options)
    s = make(lib.optim.lr_scheduler, opt)
    out = [[g["lr"] for g in opt.param_groups]]
    for _ in range(steps):
        opt.step(); s.step()
        out.append([g["lr"] for g in opt.param_groups])
        assert list(s.get_last_lr()) == out[-1]
    return np.array(out)

SCHEDULES = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, lambda e: 0.95 ** e),
    "LambdaLR of a list": lambda m, o: m.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: min(1, e / 10)]),
    "StepLR": lambda m, o: m.StepLR(o, 30), "StepLR gamma": lambda m, o: m.StepLR(o, step_size=7, gamma=0.5),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [10, 40, 40, 80], gamma=0.3),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.97),
    "LinearLR": lambda m, o: m.LinearLR(o), "LinearLR down": lambda m, o: m.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=50),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, T_max=100), "CosineAnnealingLR over": lambda m, o: m.CosineAnnealingLR(o, 30, eta_min=0.001),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, max_lr=0.5, total_steps=101),
    "OneCycleLR linear": lambda m, o: m.OneCycleLR(o, [0.5, 0.3], epochs=11, steps_per_epoch=10, pct_start=0.2, anneal_strategy="linear", div_factor=10, final_div_factor=50),
    "OneCycleLR three": lambda m, o: m.OneCycleLR(o, 0.5, total_steps=105, three_phase=True),
    "SequentialLR": lambda m, o: m.SequentialLR(o, [m.LinearLR(o, 0.1, total_iters=10), m.CosineAnnealingLR(o, 90)], milestones=[10]),
    "SequentialLR of three": lambda m, o: m.SequentialLR(o, [m.LinearLR(o, 0.1, total_iters=5), m.ExponentialLR(o, 0.9), m.StepLR(o, 7)], milestones=[12, 40]),
}
OPTIONAL = {"ConstantLR": lambda m, o: m.ConstantLR(o, 0.2, 7), "PolynomialLR": lambda m, o: m.PolynomialLR(o, 50, 2.0), "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda e: 0.97),
            "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 10, 2), "CyclicLR": lambda m, o: m.CyclicLR(o, 0.01, 0.1, step_size_up=7),
            "ChainedScheduler": lambda m, o: m.ChainedScheduler([m.LinearLR(o, 0.1, total_iters=10), m.ExponentialLR(o, 0.97)], optimizer=o)}
SCHEDULES |= {k: v for k, v in OPTIONAL.items() if hasattr(dlfs.optim.lr_scheduler, k)}

@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    options = dict(momentum=0.9) if name in ("CyclicLR",) or name.startswith("OneCycle") else {}
    ours, theirs = (rates(lib, SCHEDULES[name], **options) for lib in LIBS)
    assert len(np.unique(theirs)) > 2
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-14)

@pytest.mark.parametrize("name, key", [("SGD", "momentum"), ("Adam", "betas")])
def test_one_cycle_moves_momentum(name, key):
    paths = []
    for lib in LIBS:
        opt = optimiser(lib, name, **({"momentum": 0.9} if name == "SGD" else {}))
        s = lib.optim.lr_scheduler.OneCycleLR(opt, 0.5, total_steps=50)
        path = []
        for _ in range(49):
            path.append(np.ravel(opt.param_groups[0][key]).tolist()); opt.step(); s.step()
        paths.append(path)
    np.testing.assert_allclose(*paths, rtol=1e-10)
    assert min(p[0] for p in paths[1]) < 0.86

def test_one_cycle_ends():
    for lib in LIBS:
        opt = optimiser(lib, momentum=0.9); s = lib.optim.lr_scheduler.OneCycleLR(opt, 0.5, total_steps=5)
        for _ in range(4): opt.step(); s.step()
        with pytest.raises(ValueError): [s.step() for _ in range(2)]

def test_two_schedules_on_one_optimiser():
    def both(m, o):
        class Both:
            def __init__(self): self.a, self.b = m.ExponentialLR(o, 0.98), m.StepLR(o, 20, 0.5)
            def step(self): self.a.step(); self.b.step()
            def get_last_lr(self): return self.b.get_last_lr()
        return Both()
    ours, theirs = (rates(lib, both) for lib in LIBS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)

PLATEAU = [{}, dict(mode="max"), dict(factor=0.5, patience=2), dict(patience=1, threshold=0.1, threshold_mode="abs"), dict(patience=3, cooldown=5, min_lr=1e-3), dict(patience=0, min_lr=[1e-2, 1e-4]), dict(patience=1, eps=1e-3)]
@pytest.mark.parametrize("options", PLATEAU, ids=range(len(PLATEAU)))
def test_reduce_on_plateau(options):
    metrics = np.exp(-np.arange(100) / 20) + 0.05 * np.random.default_rng(0).normal(size=100)
    metrics[60] = float("nan")
    paths = []
    for lib in LIBS:
        opt = optimiser(lib)
        s = lib.optim.lr_scheduler.ReduceLROnPlateau(opt, **options)
        path = []
        for v in metrics:
            opt.step(); s.step(float(v)); path.append([g["lr"] for g in opt.param_groups])
        paths.append(path)
    np.testing.assert_allclose(*paths, rtol=1e-12)
    assert paths[1][-1][0] < 0.1

@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_of_equals(mode, threshold_mode):
    "Exactly the same again is no improvement, nor is exactly the threshold."
    paths = []
    for lib in LIBS:
        opt = optimiser(lib); s = lib.optim.lr_scheduler.ReduceLROnPlateau(opt, mode=mode, threshold=0.25, threshold_mode=threshold_mode, patience=1)
        path = []
        for v in [1.0] * 6 + [0.75, 0.5, 0.25, 0.0, -0.25, -0.5] + [1.25, 1.5, 1.75] + [1.75] * 3: s.step(v); path.append(opt.param_groups[0]["lr"])
        paths.append(path)
    assert paths[0] == pytest.approx(paths[1], rel=1e-12)

CLOSED = {"LambdaLR": lambda m, o, **k: m.LambdaLR(o, lambda e: 0.9 ** e, **k), "StepLR": lambda m, o, **k: m.StepLR(o, 7, 0.5, **k), "MultiStepLR": lambda m, o, **k: m.MultiStepLR(o, [5, 20], **k),
          "ExponentialLR": lambda m, o, **k: m.ExponentialLR(o, 0.9, **k), "LinearLR": lambda m, o, **k: m.LinearLR(o, total_iters=20, **k), "CosineAnnealingLR": lambda m, o, **k: m.CosineAnnealingLR(o, 30, 0.001, **k)}
@pytest.mark.parametrize("name", CLOSED)
def test_schedule_set_to_an_epoch(name):
    paths = []
    for lib in LIBS:
        opt = optimiser(lib); s = CLOSED[name](lib.optim.lr_scheduler, opt)
        path = []
        for e in (0, 3, 12, 5, 29, 1):
            opt.step(); s.step(e); path.append([g["lr"] for g in opt.param_groups]); opt.step(); s.step(); path.append([g["lr"] for g in opt.param_groups])
        paths.append(path)
    np.testing.assert_allclose(*paths, rtol=1e-10)

@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("last", [0, 9])
def test_schedule_resumed_by_last_epoch(name, last):
    paths = []
    for lib in LIBS:
        opt = optimiser(lib)
        for g in opt.param_groups: g["initial_lr"] = g["lr"]; g["lr"] *= 0.5
        s = CLOSED[name](lib.optim.lr_scheduler, opt, last_epoch=last)
        path = [list(s.get_last_lr())]
        for _ in range(20): opt.step(); s.step(); path.append([g["lr"] for g in opt.param_groups])
        paths.append(path)
        with pytest.raises(KeyError): CLOSED[name](lib.optim.lr_scheduler, optimiser(lib), last_epoch=last)
    np.testing.assert_allclose(*paths, rtol=1e-10)

@pytest.mark.filterwarnings("default")
def test_schedule_before_optimiser_warns():
    for lib in LIBS:
        opt = optimiser(lib); s = lib.optim.lr_scheduler.StepLR(opt, 5)
        with pytest.warns(UserWarning, match="before"): s.step()

def test_plateau_takes_tensors():
    opt = optimiser(dlfs); s = dlfs.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0)
    for v in (1.0, 2.0, 3.0): s.step(dlfs.tensor(v))
    assert opt.param_groups[0]["lr"] == pytest.approx(0.001)

@pytest.mark.parametrize("name", [n for n in SCHEDULES if "Lambda" not in n and n != "MultiplicativeLR"])
def test_schedule_state_dict(name):
    "Saved after 40 steps and loaded into new objects: the same rates follow."
    options = dict(momentum=0.9) if name in ("CyclicLR",) or name.startswith("OneCycle") else {}
    m = dlfs.optim.lr_scheduler
    whole = rates(dlfs, SCHEDULES[name], **options)
    opt = optimiser(dlfs, **options); s = SCHEDULES[name](m, opt)
    for _ in range(40): opt.step(); s.step()
    saved = copy.deepcopy((opt.state_dict(), s.state_dict()))
    opt2 = optimiser(dlfs, **options); s2 = SCHEDULES[name](m, opt2)
    opt2.load_state_dict(saved[0]); s2.load_state_dict(saved[1])
    after = []
    for _ in range(60): opt2.step(); s2.step(); after.append([g["lr"] for g in opt2.param_groups])
    np.testing.assert_allclose(after, whole[41:], rtol=1e-12)

def test_schedules_drive_training():
    def make(lib, ps): return lib.optim.AdamW(ps, lr=0.05)
    made = {}
    def schedule(opt, i):
        lib = dlfs if isinstance(opt, dlfs.optim.AdamW) else torch
        if id(opt) not in made: made[id(opt)] = (opt, lib.optim.lr_scheduler.CosineAnnealingLR(opt, 50))
        made[id(opt)][1].step()
    follow(make, schedule=schedule)
