"""The kernels in C against their definitions and PyTorch; the registry; and what happens where nothing can be built.
Kernels that need a compiler are skipped, with the compiler's own words, where there is none."""
import multiprocessing, os, stat, subprocess, sys, textwrap
from pathlib import Path
import numpy as np
import pytest

import dlfs, dlfs.nn.functional as F
from dlfs import kernels
from dlfs.autodiff import OPS, Tensor, gradcheck, gradgradcheck
from dlfs.kernels import KERNELS, Unsupported, c

WHY_NOT = kernels.AVAILABLE.get("c", c._why_not)()
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
compiled = pytest.mark.skipif(WHY_NOT is not None, reason=f"no C kernels here: {WHY_NOT}")
ROOT = Path(__file__).resolve().parent.parent
TOL = {np.float32: dict(rtol=3e-5, atol=3e-6), np.float64: dict(rtol=1e-12, atol=1e-13)}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
SHAPES = pytest.mark.parametrize("shape", [(1, 1), (1, 17), (17, 1), (3, 1000), (0, 5), (5, 0), (2, 3, 17), (17,), (300, 33), (600, 257)], ids=str)
rng = np.random.default_rng(0)

@pytest.fixture(autouse=True)
def same_numbers():
    "Each test draws the same numbers, whatever ran before it and in which process."
    global rng
    rng = np.random.default_rng(0)


def numbers(shape, dtype, scale=2): return (scale * rng.standard_normal(shape)).astype(dtype)

def both(name, *args, **kw):
    "What C makes of it, and what the definition makes of it; C must not decline."
    k = KERNELS[name]
    return k.backends["c"](*args, **kw), k.definition(*args, **kw)

def agree(a, b, dtype, **tol):
    a, b = (x if isinstance(x, tuple) else (x,) for x in (a, b))
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert np.shape(x) == np.shape(y) and x.dtype == y.dtype
        np.testing.assert_allclose(x, y, **TOL[dtype] | tol)


# ---- the functions of one number -------------------------------------------------------------------------------

@compiled
@pytest.mark.parametrize("dtype, most", [(np.float32, 2), (np.float64, 4)], ids=["f32", "f64"])
def test_exp_in_ulp(dtype, most):
    x = np.concatenate([rng.uniform(-87, 88, 100_000), rng.uniform(-1, 1, 100_000), rng.uniform(-103, -87, 1000)]).astype(dtype)
    right = np.exp(x.astype(np.longdouble))
    ulp = np.spacing(right.astype(dtype)).astype(np.longdouble)
    assert np.abs((c.each("exp")(x) - right) / ulp).max() <= most

@compiled
@DTYPES
def test_exp_at_the_edges(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, -0., 1e30, -1e30, 800, -800], dtype)
    with np.errstate(all="ignore"): np.testing.assert_allclose(c.each("exp")(x), np.exp(x), rtol=1e-15 if dtype == np.float64 else 2e-7)
    assert c.each("exp")(np.array([-np.inf], dtype))[0] == 0

@compiled
@DTYPES
@pytest.mark.parametrize("name, right", [("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("tanh", np.tanh)])
def test_functions_made_of_exp(name, right, dtype):
    x = np.concatenate([rng.uniform(-30, 30, 10_000), rng.uniform(-1e-3, 1e-3, 1000), [0, -0., np.inf, -np.inf, np.nan]]).astype(dtype)
    np.testing.assert_allclose(c.each(name)(x), right(x.astype(np.longdouble)).astype(dtype), rtol=4 * np.finfo(dtype).eps)

@compiled
def test_the_normal_distribution_function():
    torch = pytest.importorskip("torch")
    x = np.linspace(-37, 37, 50_001)
    right = .5 * torch.special.erfc(torch.tensor(-x) / 2 ** .5).numpy()
    np.testing.assert_allclose(c.each("cdf")(x), right, rtol=2e-12, atol=1e-300)  # relative, far out in the tail
    assert np.abs(c.each("cdf")(x.astype(np.float32)) - right).max() < 5e-7


# ---- each kernel against its definition ------------------------------------------------------------------------

ELEMENTWISE = [("relu", ()), ("gelu", ("none",)), ("gelu", ("tanh",)), ("silu", ())]

@compiled
@DTYPES
@SHAPES
def test_rows(shape, dtype):
    if not shape[-1]: pytest.skip("the definition has no maximum of nothing")
    x, g = numbers(shape, dtype, 4), numbers(shape, dtype)
    for name in ("softmax", "log_softmax"):
        y, right = both(name, x, len(shape) - 1)
        agree(y, right, dtype)
        agree(*both(name + "_grad", g, right, len(shape) - 1), dtype)

@compiled
@DTYPES
@SHAPES
@pytest.mark.parametrize("masked", [False, True])
def test_cross_entropy(shape, dtype, masked):
    if len(shape) != 2 or not shape[1]: pytest.skip("scores are a table")
    z, t, keep = numbers(shape, dtype, 4), rng.integers(0, shape[1], shape[0]), rng.random(shape[0]) < .5 if masked else None
    agree(*both("pick_loss", z, t, keep), dtype)
    agree(*both("pick_loss_grad", numbers(shape[:1], dtype), z, t, keep), dtype)

@compiled
@DTYPES
@SHAPES
@pytest.mark.parametrize("centre", [True, False], ids=["layer", "rms"])
@pytest.mark.parametrize("with_weight, with_bias", [(True, True), (False, False), (True, False), (False, True)])
def test_norms(shape, dtype, centre, with_weight, with_bias):
    if not shape[-1] or len(shape) < 2 and dtype == np.float32: pytest.skip("nothing to normalise")
    x, g = numbers(shape, dtype) + dtype(3), numbers(shape, dtype)
    w, b = (numbers(shape[-1:], dtype) if given else None for given in (with_weight, with_bias))
    tol = dict(rtol=1e-4, atol=3e-4) if dtype == np.float32 else dict(atol=1e-11)
    agree(*both("layer_norm", x, w, b, 1e-5, centre), dtype, **tol)
    got, right = both("layer_norm_grad", g, x, w, 1e-5, centre)
    if shape[-1] == 1: tol["atol"] = 1e-2 if dtype == np.float32 else 1e-9  # 1 / sqrt(eps) times a difference that should be zero
    agree(got, right, dtype, **tol)

@compiled
@DTYPES
@SHAPES
@pytest.mark.parametrize("name, settings", ELEMENTWISE, ids=str)
def test_activations(shape, dtype, name, settings):
    x, g = numbers(shape, dtype, 3), numbers(shape, dtype)
    agree(*both(name, x, *settings), dtype)
    agree(*both(name + "_grad", g, x, *settings), dtype, **(dict(atol=1e-5) if dtype == np.float32 else {}))  # 1 + tanh cancels in the definition

@compiled
@DTYPES
@SHAPES
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_bias_and_activation(shape, dtype, activation):
    x, b, g = numbers(shape, dtype), numbers(shape[-1:], dtype), numbers(shape, dtype)
    agree(*both("bias_act", x, b, activation), dtype)
    agree(*both("bias_act_grad", g, x, b, activation), dtype, **(dict(atol=1e-4) if dtype == np.float32 else dict(atol=1e-11)))

@compiled
@DTYPES
@SHAPES
def test_sums(shape, dtype):
    x, n = numbers(shape, dtype), len(shape)
    for dim in [None, (n - 1,), (0,), tuple(range(n)), *([(0, 1), (2, 1)] if n == 3 else [])]:
        for keep in (False, True): agree(*[np.asarray(a) for a in both("large_sum", x, dim, keep)], dtype, **(dict(atol=1e-3) if dtype == np.float32 else dict(atol=1e-11)))
    if n == 3:
        with pytest.raises(Unsupported, match="first or the last"): KERNELS["large_sum"].backends["c"](x, (1,))

@compiled
@DTYPES
def test_a_large_sum_is_as_exact_as_numpys(dtype):
    x = rng.random(3_000_001).astype(dtype)
    right = x.astype(np.longdouble).sum()
    for s in (c.sum_(x), c.sum_(x[:3_000_000].reshape(3000, 1000), 0).sum(dtype=np.float64) + x[-1]): assert abs(float(s - right)) <= 4 * np.finfo(dtype).eps * float(right)

@compiled
@DTYPES
@SHAPES
@pytest.mark.parametrize("p", [.1, .5, .999999, 1.0])
def test_dropout_is_the_definitions_bit_for_bit(shape, dtype, p):
    x = numbers(shape, dtype)
    for key in (0, 1, 2**62 - 1, 0x123456789abcdef0):
        got, right = both("dropout", x, p, key)
        assert np.array_equal(got == 0, right == 0)
        agree(got, right, dtype)

def test_the_masks_look_random():
    keep = F._survivors((1000, 1000), .3, 987654321)
    n = keep.size
    assert abs(keep.mean() - .7) < 5 * np.sqrt(.21 / n)
    for other in (F._survivors((1000, 1000), .3, 987654322), F._survivors((1000, 1000), .3, 987654321 + (1 << 40)), np.roll(keep, 1), np.roll(keep, 1000), np.roll(keep, 64)):
        assert abs((keep & other).mean() - .49) < 6 * np.sqrt(.25 / n)

@compiled
@DTYPES
@pytest.mark.parametrize("padding", [None, 0, 6])
@pytest.mark.parametrize("index", [(), (0,), (1,), (5, 7), (4000,)], ids=str)
def test_embedding(dtype, padding, index):
    w, i = numbers((7, 33), dtype), rng.integers(0, 7, index)
    agree(*both("embedding", w, i, padding), dtype)
    agree(*both("embedding_grad", numbers((*index, 33), dtype), i, 7, padding), dtype, **(dict(atol=2e-3) if dtype == np.float32 else dict(atol=1e-11)))

@compiled
@DTYPES
@pytest.mark.parametrize("n", [0, 1, 17, 1000, 300_000])
@pytest.mark.parametrize("options", [{}, dict(decoupled=True, weight_decay=.1), dict(weight_decay=.1, maximize=True), dict(amsgrad=True)], ids=str)
def test_adam(n, dtype, options):
    options = dict(options); amsgrad = options.pop("amsgrad", False)
    start = [numbers(n, dtype), numbers(n, dtype), numbers(n, dtype), numbers(n, dtype) ** 2] + ([numbers(n, dtype) ** 2] if amsgrad else [])
    settings = dict(lr=1e-2, beta1=.9, beta2=.99, eps=1e-8, weight_decay=0., decoupled=False, maximize=False, correction1=.3, correction2=.05) | options
    mine, theirs = [a.copy() for a in start], [a.copy() for a in start]
    KERNELS["adam"].backends["c"](*mine, **settings); KERNELS["adam"].definition(*theirs, **settings)
    for a, b in zip(mine, theirs): agree(a, b, dtype)

@compiled
@DTYPES
def test_extreme_values_go_where_the_definition_puts_them(dtype):
    rows = np.array([[1e4, 0, -1e4], [5, 5, 5], [-np.inf] * 3, [np.inf, 0, 1], [np.nan, 1, 2], [-np.inf, 0, 1], [3e38, -3e38, 0], [0, -0., 1e-40]], dtype)
    g = numbers(rows.shape, dtype)
    with np.errstate(all="ignore"):
        for name in ("softmax", "log_softmax"):
            got, right = both(name, rows, 1); agree(got, right, dtype)
            agree(*both(name + "_grad", g, right, 1), dtype)
        t = np.arange(8) % 3
        agree(*both("pick_loss", rows, t), dtype); agree(*both("pick_loss_grad", g[:, 0].copy(), rows, t, None), dtype)
        for name, settings in ELEMENTWISE:
            agree(*both(name, rows, *settings), dtype)
            if name != "relu": agree(*both(name + "_grad", g, rows, *settings), dtype)
        gx = both("relu_grad", np.array([np.inf, np.nan, 1, 1, 2], dtype), np.array([0, 0, np.nan, np.inf, -1], dtype)); agree(*gx, dtype)
        agree(*both("layer_norm", rows[[1, 4, 7]], None, None, 1e-5), dtype, atol=1e-4)
        agree(*both("dropout", rows, .5, 7), dtype)

@compiled
@DTYPES
def test_arrays_that_are_not_contiguous_are_read_as_they_are_meant(dtype):
    big = numbers((40, 60), dtype)
    for x in (big.T, big[::2, ::3], big[::-1, ::-1], np.broadcast_to(big[:1], (40, 60)), np.asfortranarray(big)):
        g = np.broadcast_to(dtype(1), x.shape)
        agree(*both("softmax", x, 1), dtype); agree(*both("gelu", x, "none"), dtype); agree(*both("gelu_grad", g, x, "none"), dtype)
        agree(*both("layer_norm_grad", g, x, None, 1e-5, True), dtype, rtol=1e-3, atol=1e-4); agree(*both("dropout", x, .3, 5), dtype)
        agree(*both("pick_loss", x, np.zeros(len(x) * 2, np.int32)[::2]), dtype)
    p = np.zeros((4, 4), dtype).T
    with pytest.raises(Unsupported, match="not contiguous"):
        KERNELS["adam"].backends["c"](np.zeros((4, 6), dtype)[:, ::2], *[np.zeros((4, 3), dtype)] * 3, lr=1, beta1=.9, beta2=.9, eps=1, weight_decay=0, decoupled=False, maximize=False, correction1=1, correction2=1)

@compiled
def test_a_class_that_is_none_reads_no_foreign_memory():
    z = np.zeros((3, 4), np.float32)
    assert np.isnan(c.pick_loss(z, np.array([4, -1, 10**12]))).all()
    assert np.isfinite(c.pick_loss_grad(np.ones(3, np.float32), z, np.array([4, -1, 10**12]), None)).all()
    assert np.isnan(c.embedding(z, np.array([3]))).all() and not c.embedding_grad(np.ones((1, 4), np.float32), np.array([10**12]), 3).any()


# ---- through the framework -------------------------------------------------------------------------------------

OPERATIONS = {
    "softmax": (lambda L, F, x: F.softmax(x, -1), [(5, 33)]),
    "log_softmax": (lambda L, F, x: F.log_softmax(x, -1), [(5, 33)]),
    "softmax of another axis": (lambda L, F, x: F.softmax(x, 0), [(5, 33)]),
    "cross_entropy": (lambda L, F, x: F.cross_entropy(x, L.from_numpy(np.arange(5)), ignore_index=3), [(5, 33)]),
    "layer_norm": (lambda L, F, x, w, b: F.layer_norm(x, (33,), w, b), [(5, 33), (33,), (33,)]),
    "rms_norm": (lambda L, F, x, w: F.rms_norm(x, (33,), w), [(5, 33), (33,)]),
    "gelu": (lambda L, F, x: F.gelu(x), [(5, 33)]), "gelu tanh": (lambda L, F, x: F.gelu(x, approximate="tanh"), [(5, 33)]),
    "silu": (lambda L, F, x: F.silu(x), [(5, 33)]), "relu": (lambda L, F, x: F.relu(x), [(5, 33)]),
    "embedding": (lambda L, F, w: F.embedding(L.from_numpy(np.array([[0, 1], [1, 4]])), w, padding_idx=4), [(5, 33)]),
    "sum": (lambda L, F, x: x.sum(-1), [(70, 1000)]), "column sum": (lambda L, F, x: x.sum(0) * 2, [(70, 1000)]),
}

@compiled
@DTYPES
@pytest.mark.parametrize("name", OPERATIONS)
def test_like_pytorch(name, dtype):
    torch = pytest.importorskip("torch")
    import torch.nn.functional as TF
    f, shapes = OPERATIONS[name]
    arrays = [numbers(s, dtype) for s in shapes]
    ours, theirs = [dlfs.from_numpy(a.copy()).requires_grad_() for a in arrays], [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    y, z = f(dlfs, F, *ours), f(torch, TF, *theirs)
    g = numbers(tuple(y.shape), dtype)
    y.backward(dlfs.from_numpy(np.asarray(g))); z.backward(torch.from_numpy(np.asarray(g)))
    agree(y.detach().numpy(), z.detach().numpy(), dtype, **(dict(rtol=1e-4, atol=1e-4) if dtype == np.float32 else dict(atol=1e-11)))
    for a, b in zip(ours, theirs): agree(a.grad.numpy(), b.grad.numpy(), dtype, **(dict(rtol=1e-4, atol=1e-4) if dtype == np.float32 else dict(atol=1e-11)))

@compiled
@pytest.mark.parametrize("name", [n for n in OPERATIONS if "sum" not in n and n != "embedding"])
def test_higher_derivatives_go_by_the_definition(name):
    f = OPERATIONS[name][0]
    xs = [Tensor(rng.uniform(.3, 2, (5, 4) if len(s) == 2 else (4,)), True) for s in OPERATIONS[name][1]]
    g = lambda *xs: f(dlfs, F, *xs)
    if "norm" in name: g = lambda x, *more: getattr(F, name)(x, (4,), *more)
    if name == "cross_entropy": g = lambda x: F.cross_entropy(x, dlfs.tensor([0, 1, 2, 3, 0]), ignore_index=3)
    kernels.report(reset=True)
    assert gradcheck(g, xs) and gradgradcheck(g, xs)
    rows = kernels.report()
    assert any(b == "c" for _, b, _, _ in rows) or "axis" in name, "the first derivative ran in C"
    assert any("recorded for higher derivatives" in " ".join(why) for *_, why in rows) or name == "cross_entropy"

@compiled
def test_training_is_the_same_with_and_without():
    x, t = dlfs.from_numpy(numbers((64, 20), np.float32)), dlfs.from_numpy(rng.integers(0, 5, 64))
    def train(backend):
        with kernels.use(backend):
            dlfs.manual_seed(0)
            m = dlfs.nn.Sequential(dlfs.nn.Linear(20, 32), dlfs.nn.GELU(), dlfs.nn.Dropout(.2), dlfs.nn.Linear(32, 5))
            opt, losses = dlfs.optim.AdamW(m.parameters(), lr=1e-2), []
            for _ in range(30):
                opt.zero_grad(); loss = F.cross_entropy(m(x), t); loss.backward(); opt.step(); losses.append(loss.item())
        return losses
    a, b = train("c"), train("array")
    np.testing.assert_allclose(a, b, rtol=1e-3); assert a[-1] < a[0] / 2


# ---- threads ---------------------------------------------------------------------------------------------------

CHECKS = """
import numpy as np, sys
from dlfs.kernels import c, KERNELS
import dlfs
rng = np.random.default_rng(0)
outs = []
for T in (np.float32, np.float64):
    for shape in [(1, 1), (3, 17), (0, 5), (300, 1000)]:
        x, g, w, b = (rng.standard_normal(s).astype(T) for s in (shape, shape, shape[1:], shape[1:]))
        t, keep = rng.integers(0, shape[1], shape[0]), rng.random(shape[0]) < .5
        outs += [c.softmax(x, 1), c.softmax_grad(g, x, 1), c.log_softmax(x, 1), c.log_softmax_grad(g, x, 1)]
        outs += [c.pick_loss(x, t), c.pick_loss(x, t, keep), c.pick_loss_grad(w[:1].repeat(len(x)), x, t, keep)]
        outs += [c.layer_norm(x, w, b, 1e-5), *c.layer_norm_grad(g, x, w, 1e-5, True), *c.layer_norm_grad(g, x, None, 1e-5, False)]
        for f in ("relu", "gelu", "gelu_tanh", "silu"): outs += [c._on(f, x), c._back(f, g, x)]
        for f in ("relu", "gelu", "silu"): outs += [c.bias_act(x, w, f), *c.bias_act_grad(g, x, w, f)]
        outs += [c.sum_(x), c.sum_(x, 0), c.sum_(x, 1), c.dropout(x, .3, 99), *[c.each(f)(x) for f in ("exp", "sigmoid", "tanh", "cdf")]]
        i = rng.integers(0, max(1, len(x)), 500) if len(x) else np.zeros(0, int)
        outs += [c.embedding(x, i), c.embedding_grad(rng.standard_normal((len(i), shape[1])).astype(T), i, len(x), 0)]
        p, m, v = x.copy(), g.copy(), g * g
        c.adam(p, g, m, v, v.copy(), lr=.1, beta1=.9, beta2=.9, eps=1e-8, weight_decay=.1, decoupled=True, maximize=False, correction1=.5, correction2=.5)
        outs += [p, m, v]
print(c.library().lib.dlfs_threads(), __import__("hashlib").sha256(b"".join(np.ascontiguousarray(o).tobytes() for o in outs)).hexdigest())
"""

def run(code, **env):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **{k: str(v) for k, v in env.items()}}
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env, timeout=300)

@compiled
def test_results_do_not_depend_on_the_number_of_threads():
    one, two, three = (run(CHECKS, OMP_NUM_THREADS=n) for n in (1, 2, 3))
    assert one.returncode == two.returncode == three.returncode == 0, one.stderr + two.stderr + three.stderr
    assert one.stdout.split()[1] == two.stdout.split()[1] == three.stdout.split()[1], "bit for bit"

@compiled
def test_without_openmp_all_agrees():
    code = "from dlfs.kernels import c\nc._Library.current = c._Library(c.build(openmp=False))\nassert c.library().lib.dlfs_threads() == 1\n" + CHECKS.replace("print(", "import pickle; pickle.dump(outs, open(sys.argv[0] if False else %r, 'wb')); print(")
    import pickle, tempfile
    with tempfile.TemporaryDirectory() as d:
        p, q = str(Path(d, "a")), str(Path(d, "b"))
        for r in (run(code % p, OMP_NUM_THREADS=2), run(("import sys\n" + code.split("\n", 3)[3]) % q, OMP_NUM_THREADS=2)): assert r.returncode == 0, r.stderr
        for a, b in zip(pickle.load(open(p, "rb")), pickle.load(open(q, "rb"))): np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)

def _in_child(queue): queue.put(float(c.softmax(np.ones((2000, 1000), np.float32), 1).sum()))

@compiled
def test_a_forked_process_can_use_the_kernels():
    c.softmax(np.ones((2000, 1000), np.float32), 1)  # threads exist now
    if "fork" not in multiprocessing.get_all_start_methods(): pytest.skip("no fork here")
    ctx = multiprocessing.get_context("fork"); q = ctx.Queue(); p = ctx.Process(target=_in_child, args=(q,)); p.start()
    assert abs(q.get(timeout=60) - 2000) < .1
    p.join(30); assert p.exitcode == 0


# ---- the registry ----------------------------------------------------------------------------------------------

@pytest.fixture
def doubled():
    "An operation with a fast implementation that says when it ran."
    ran = []
    @kernels.define
    def doubled(x): "Twice x."; return x + x
    @kernels.kernel("doubled", "c")
    def fast(x):
        if x.dtype != np.float32: raise Unsupported(f"dtype {x.dtype}")
        ran.append(1); return x * 2
    yield doubled, ran
    del KERNELS["doubled"]

@compiled
def test_use_picks_and_puts_back(doubled):
    f, ran = doubled; x = np.ones(3, np.float32)
    f(x); assert len(ran) == 1
    with kernels.use("array"):
        f(x); assert len(ran) == 1
        with kernels.use("c"): f(x); assert len(ran) == 2
        f(x); assert len(ran) == 2
    try:
        with kernels.use("array"): raise KeyError
    except KeyError: pass
    f(x); assert len(ran) == 3
    @kernels.use("array")
    def g(x): return f(x)
    g(x); assert len(ran) == 3 and g.__name__ == "g"
    f(x, backend="array"); assert len(ran) == 3
    f(x, backend="c"); assert len(ran) == 4
    assert f.__doc__ == "Twice x." and f.__wrapped__ is f.kernel.definition

def test_unknown_names_are_refused():
    for call in (lambda: kernels.use("cdua"), lambda: OPS["softmax"].op.forward(np.ones((2, 2)), 1, backend="fast")):
        with pytest.raises(ValueError, match="no backend '(cdua|fast)'; there are auto, array, c"): call()
    r = run("import dlfs", DLFS_KERNELS="fast")
    r = run("import dlfs, numpy as np; dlfs.softmax(dlfs.ones(2, 2), 1)", DLFS_KERNELS="fast") if not r.returncode else r
    assert r.returncode and "DLFS_KERNELS: there is no backend 'fast'" in r.stderr

def test_the_environment_variable():
    for name, want in (("array", "array"), ("auto", "c"), ("c", "c"), ("", "c")):
        r = run("import dlfs; dlfs.softmax(dlfs.ones(2, 2), 1); print(dlfs.kernels.report()[0][1])", DLFS_KERNELS=name)
        assert r.stdout.strip() == (want if WHY_NOT is None else "array"), r.stderr

@compiled
def test_report_says_what_fell_back_and_why(doubled):
    f, ran = doubled
    kernels.report(reset=True)
    f(np.ones(2, np.float32)); f(np.ones(2)); f(np.ones(2))
    rows = {(n, b): (k, why) for n, b, k, why in kernels.report()}
    assert rows["doubled", "c"][0] == 1 and rows["doubled", "array"] == (2, {"c: dtype float64": 2})
    assert "doubled" in repr(kernels.report()) and "not c: dtype float64 (2 times)" in repr(kernels.report())
    kernels.report(reset=True)
    assert repr(kernels.report()) == "no kernel has run yet"

@compiled
@pytest.mark.parametrize("x, dim, why", [(np.ones((2, 2), np.float16), 1, "dtype float16"), (np.ones((2, 2)), 0, "last axis"), ([[1., 2.]], 1, "a list, not a NumPy array"), (np.ones((2, 2), int), 1, "dtype int64")])
def test_reasons(x, dim, why):
    with pytest.raises(Unsupported, match=why): c.softmax(x, dim)

@compiled
def test_mixed_dtypes_are_declined():
    with pytest.raises(Unsupported, match="mixed dtypes float32 and float64"): c.softmax_grad(np.ones((2, 2), np.float32), np.ones((2, 2)), 1)


# ---- faults of the build ---------------------------------------------------------------------------------------

SOFTMAX = "import dlfs, numpy as np; y = dlfs.softmax(dlfs.ones(2, 4), 1).numpy(); assert (y == .25).all(); print(dlfs.kernels.report())"

def script(path, text): path.write_text("#!/bin/sh\n" + text); path.chmod(0o755); return path

def test_no_compiler(tmp_path):
    r = run(SOFTMAX, PATH=tmp_path, CC="", DLFS_CACHE=tmp_path)
    assert r.returncode == 0 and "not c: no C compiler was found; install gcc or clang" in r.stdout, r.stderr
    r = run("import dlfs; dlfs.kernels.use('c')", PATH=tmp_path, CC="", DLFS_CACHE=tmp_path)
    assert "RuntimeError: use('c'): no C compiler was found" in r.stderr

def test_a_compiler_that_fails(tmp_path):
    cc = script(tmp_path / "badcc", 'echo "internal compiler error: the moon" >&2; exit 3\n')
    r = run(SOFTMAX, CC=cc, DLFS_CACHE=tmp_path / "cache")
    assert r.returncode == 0 and "not c: the compiler" in r.stdout and "the moon" in r.stdout, r.stderr

def test_a_compiler_that_does_not_start_or_writes_nothing(tmp_path):
    cc = tmp_path / "nocc"; cc.write_text("#!/no/such/interpreter\n"); cc.chmod(0o755)
    for cc in (cc, script(tmp_path / "lazycc", "exit 0\n")):
        r = run(SOFTMAX, CC=cc, DLFS_CACHE=tmp_path / "cache")
        assert r.returncode == 0 and "not c: " in r.stdout, (r.stdout, r.stderr)

def test_a_compiler_that_hangs_up(tmp_path):
    cc = script(tmp_path / "killed", "kill -9 $$\n")
    r = run(SOFTMAX, CC=cc, DLFS_CACHE=tmp_path / "cache")
    assert r.returncode == 0 and "not c: " in r.stdout, (r.stdout, r.stderr)

@compiled
def test_a_compiler_without_some_flags(tmp_path):
    "No OpenMP, no -march=native: other flags are tried."
    real = c.compiler()[0]
    cc = script(tmp_path / "oldcc", f'case " $* " in *fopenmp\\ *|*march=native*) echo "unrecognized option" >&2; exit 1;; esac\nexec {real} "$@"\n')
    r = run(SOFTMAX + "; print(dlfs.kernels.c.library().lib.dlfs_threads())", CC=cc, DLFS_CACHE=tmp_path / "cache", OMP_NUM_THREADS=2)
    assert r.returncode == 0 and "not c" not in r.stdout and r.stdout.strip().endswith("1"), (r.stdout, r.stderr)

@compiled
def test_a_cache_that_is_no_folder_or_read_only(tmp_path):
    blocked = tmp_path / "file"; blocked.write_text("")
    r = run(SOFTMAX, DLFS_CACHE=blocked); assert r.returncode == 0 and "not c" not in r.stdout, (r.stdout, r.stderr)
    locked = tmp_path / "locked"; locked.mkdir(); locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try: r = run(SOFTMAX, DLFS_CACHE=locked)
    finally: locked.chmod(0o700)
    assert r.returncode == 0 and "not c" not in r.stdout, (r.stdout, r.stderr)

@compiled
def test_a_full_disk(tmp_path):
    "Writing fails at the cache with ENOSPC: a temporary folder is used. If that is full too, the definition."
    full = """
        import errno, os, pathlib, dlfs
        from dlfs.kernels import c
        write, where = pathlib.Path.write_text, %r
        def full(self, *a, **k):
            if where in str(self): raise OSError(errno.ENOSPC, "No space left on device")
            return write(self, *a, **k)
        pathlib.Path.write_text = full
    """
    cache, tmp = tmp_path / "thecache", tmp_path / "tmp"; tmp.mkdir()
    r = run(textwrap.dedent(full % "thecache") + SOFTMAX, DLFS_CACHE=cache, TMPDIR=tmp)
    assert r.returncode == 0 and "not c" not in r.stdout, (r.stdout, r.stderr)
    r = run(textwrap.dedent(full % "/") + SOFTMAX, DLFS_CACHE=cache, TMPDIR=tmp)
    assert r.returncode == 0 and "No space left" in r.stdout, (r.stdout, r.stderr)

@pytest.fixture(scope="module")
def built(tmp_path_factory):
    if WHY_NOT: pytest.skip(WHY_NOT)
    folder = tmp_path_factory.mktemp("built")
    return c.build(folder=folder)

def spoilt(built, folder, how):
    folder.mkdir()
    so = folder / built.name; so.write_bytes(built.read_bytes()); so.with_suffix(".sha256").write_text(built.with_suffix(".sha256").read_text())
    how(so)
    return so

@compiled
@pytest.mark.parametrize("how", [lambda so: so.write_bytes(so.read_bytes()[:1000]), lambda so: so.write_bytes(b""), lambda so: so.write_bytes(so.read_bytes()[:5000] + b"\xcc" * 64 + so.read_bytes()[5064:]),
                                 lambda so: so.with_suffix(".sha256").write_text("0" * 64), lambda so: so.with_suffix(".sha256").unlink(), lambda so: so.unlink()],
                         ids=["truncated", "empty", "corrupted", "wrong checksum", "no checksum", "no library"])
def test_a_spoilt_cache_is_built_anew(built, tmp_path, how):
    so = spoilt(built, tmp_path / "cache", how)
    r = run(SOFTMAX, DLFS_CACHE=so.parent)
    assert r.returncode == 0 and "not c" not in r.stdout, (r.stdout, r.stderr)
    assert c._intact(so) and sorted(p.suffix for p in so.parent.iterdir()) == [".sha256", ".so"], "mended, and no litter"

@compiled
def test_a_library_that_does_not_load(built, tmp_path):
    "Its checksum is right, but it is for another machine, say: the definition runs, and the report says why."
    import hashlib
    def foreign(so): so.write_bytes(b"not a library"); so.with_suffix(".sha256").write_text(hashlib.sha256(b"not a library").hexdigest())
    so = spoilt(built, tmp_path / "cache", foreign)
    r = run(SOFTMAX, DLFS_CACHE=so.parent)
    assert r.returncode == 0, r.stderr

@compiled
def test_two_processes_build_at_once(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DLFS_CACHE": str(tmp_path / "cache")}
    ps = [subprocess.Popen([sys.executable, "-c", SOFTMAX], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for p in ps:
        out, err = p.communicate(timeout=120)
        assert p.returncode == 0 and "not c" not in out, (out, err)
    assert len(list((tmp_path / "cache").glob("*.so"))) == 1

@compiled
def test_two_threads_build_once(tmp_path):
    r = run("""
        import threading, numpy as np
        from dlfs.kernels import c
        n, build = [], c.build
        c.build = lambda: (n.append(1), build())[1]
        ts = [threading.Thread(target=lambda: c.softmax(np.ones((2, 2)), 1)) for _ in range(8)]
        [t.start() for t in ts]; [t.join() for t in ts]
        print(len(n))""", DLFS_CACHE=tmp_path)
    assert r.stdout.strip() == "1", r.stderr

@compiled
def test_the_environment_is_left_as_it_was():
    r = run("import os; before = dict(os.environ)\nfrom dlfs.kernels import c; c.library(); assert dict(os.environ) == before")
    assert r.returncode == 0, r.stderr

@compiled
def test_building_takes_less_than_twenty_seconds(tmp_path):
    import time
    t = time.perf_counter(); c.build(folder=tmp_path)
    assert time.perf_counter() - t < 20


# ---- sanitizers ------------------------------------------------------------------------------------------------

@compiled
def test_under_the_sanitizers(tmp_path):
    "Reads or writes out of bounds, and undefined behaviour, stop the process."
    out = subprocess.run([*c.compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(out): pytest.skip("the compiler has no address sanitizer")
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]
    try: c.build(flags=flags, openmp=False, folder=tmp_path)
    except c.BuildError as e: pytest.skip(f"no sanitizers: {e}")
    code = f"from dlfs.kernels import c\nc._Library.current = c._Library(c.build(flags={flags!r}, openmp=False, folder={str(tmp_path)!r}))\n"
    env = dict(LD_PRELOAD=os.path.realpath(out), ASAN_OPTIONS="detect_leaks=0", OMP_NUM_THREADS=1)
    r = run(code + CHECKS, **env)
    assert r.returncode == 0, r.stderr[-3000:]
    r = run(code + "import numpy as np\nc._sum_rows(np.dtype('f4'), np.ones(8, 'f4'), np.ones(1, 'f4'), 1, 4_000_000)", **env)
    assert r.returncode != 0, "a sanitizer that finds nothing proves nothing"
