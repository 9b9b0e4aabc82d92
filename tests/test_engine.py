"The engine: depth, memory, modes, hooks, in-place writes, custom functions, beside PyTorch where it has an answer."
import gc, random, threading, tracemalloc, weakref
import numpy as np
import pytest

import dlfs
from dlfs.autodiff import *
from dlfs.autodiff import Tensor

def leaf(*shape, seed=0): return Tensor(np.random.default_rng(seed).normal(size=shape), True)
def peer():
    "PyTorch, or skip."
    return pytest.importorskip("torch")


# ---- depth and memory ------------------------------------------------------------------------------------------

def test_a_graph_100_000_operations_deep():
    x = leaf(2); y = x
    for _ in range(100_000): y = y * 1.0
    s = y.sum(); s.backward()
    assert x.grad.a.tolist() == [1, 1]
    last = weakref.ref(y)
    del y, s  # and it is taken apart without recursion too
    gc.collect(); assert last() is None


def test_a_deep_graph_that_never_ran_backward_is_freed():
    x = leaf(2); y = x
    for _ in range(100_000): y = y + x
    first = weakref.ref(y.node)
    del y; gc.collect()
    assert first() is None


def used(): gc.collect(); return tracemalloc.get_traced_memory()[0]

def test_memory_returns_after_backward():
    w = leaf(100, 100)
    def step():
        y = w
        for _ in range(20): y = (y @ w).tanh()
        return y.sum()
    step().backward(); w.grad = None
    tracemalloc.start()
    try:
        before = used()
        s = step(); held = used()
        s.backward(); after = used()
        assert held - before > 20 * 80_000, "the graph holds what backward needs"
        assert after - before < 80_000 * 1.5 + 20_000, "afterwards only the gradient is left, though the result still lives"
        w.grad = None; del s
        assert used() - before < 10_000
    finally: tracemalloc.stop()


def test_what_no_rule_needs_is_not_kept():
    x = leaf(1000)
    tracemalloc.start()
    try:
        before = used()
        y = ((x + 1.) + 1.) + 1.
        assert used() - before < 2 * 8000, "a sum needs none of its inputs again"
    finally: tracemalloc.stop()


@pytest.mark.parametrize("collector", [False, True])
def test_nothing_leaks_over_1000_steps(collector):
    "Reference counts alone free a graph; the collector is needed only for the classes that `checkpoint` makes."
    w, b = leaf(8, 8), leaf(8)
    def step(i):
        x = Tensor(np.ones((4, 8)))
        loss = ((x @ w + b).tanh() ** 2).mean() + w[0].sum() * b.max() + dlfs.cat([b, b]).sum()
        if i % 3 == 0: (g,) = grad(loss, w, create_graph=True); loss = loss + (g * g).sum()
        if i % 5 == 0 and collector: loss = loss + checkpoint(lambda b: b.exp().sum(), b)
        h = (loss * 1.0); h.register_hook(lambda g: g * 1.0)
        loss.backward() if i % 2 else h.backward()
        with no_grad(): touched_write(w); touched_write(b)
        w.grad = b.grad = None
    for i in range(60): step(i)
    gc.collect()
    if not collector: gc.disable()
    tracemalloc.start()
    try:
        objects, memory = len(gc.get_objects()), tracemalloc.get_traced_memory()[0]
        for i in range(1000): step(i)
        if collector: gc.collect()
        grown = len(gc.get_objects()) - objects
        assert tracemalloc.get_traced_memory()[0] - memory < 300_000, "memory grew: by more than the interpreter's own free lists, which a full one holds back"
        assert grown < 300, f"{grown} objects more after 1000 steps"
    finally: tracemalloc.stop(); gc.enable()

def touched_write(p):
    p.a -= 1e-3 * p.grad.a; touched(p.a)


# ---- going backward, once and twice ----------------------------------------------------------------------------

def test_a_freed_graph_says_so_and_retain_graph_keeps_it():
    x = leaf(3); y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"): y.backward()
    x.grad = None; y = (x * x).sum()
    y.backward(retain_graph=True); y.backward()
    np.testing.assert_allclose(x.grad.a, 4 * x.a)


def test_only_a_scalar_and_only_what_requires_grad():
    with pytest.raises(RuntimeError, match="scalar"): (leaf(3) * 2).backward()
    with pytest.raises(RuntimeError, match="does not require grad"): Tensor(np.ones(())).backward()
    with pytest.raises(RuntimeError, match="does not require grad"): grad(leaf(2).sum(), Tensor(np.ones(2)))
    with pytest.raises(RuntimeError, match="shape"): (leaf(3) * 2).backward(Tensor(np.ones(2)))


def test_create_graph_to_the_fourth_derivative():
    x = Tensor(np.array([.5, -1.2, 2.]), True)
    y, want = x.sin() * x, [lambda v: np.sin(v) + v * np.cos(v), lambda v: 2 * np.cos(v) - v * np.sin(v), lambda v: -3 * np.sin(v) - v * np.cos(v), lambda v: -4 * np.cos(v) + v * np.sin(v)]
    for f in want:
        (y,) = grad(y.sum(), x, create_graph=True)
        np.testing.assert_allclose(y.a, f(x.a), rtol=1e-12)


def test_backward_with_create_graph_leaves_a_grad_with_a_graph():
    x = leaf(3); (x ** 3).sum().backward(create_graph=True)
    g = x.grad; assert g.tracked
    x.grad = None; g.sum().backward()
    np.testing.assert_allclose(x.grad.a, 6 * x.a)


def test_grad_leaves_grad_alone_and_reports_unused_inputs():
    x, z = leaf(3), leaf(2)
    y = (x * 2).sum()
    (g,) = grad(y, x, retain_graph=True); assert x.grad is None and g.a.tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="allow_unused"): grad(y, [x, z], retain_graph=True)
    assert grad(y, [x, z], retain_graph=True, allow_unused=True)[1] is None
    assert grad(y, [x, z], retain_graph=True, allow_unused=True, materialize_grads=True)[1].a.tolist() == [0, 0]
    m = x * 2; n = m * m  # with respect to a value in the middle, and at both ends
    gm, gx = grad(n.sum(), [m, x]); np.testing.assert_allclose(gm.a, 2 * m.a); np.testing.assert_allclose(gx.a, 8 * x.a)


def test_backward_inputs_adds_to_those_alone():
    x, z = leaf(3), leaf(3)
    (x * z).sum().backward(inputs=[x]); assert z.grad is None
    np.testing.assert_allclose(x.grad.a, z.a)


def test_gradients_accumulate_and_paths_add():
    x = leaf(3); y = x * 2
    (y + y * x + x).sum().backward(); np.testing.assert_allclose(x.grad.a, 2 + 4 * x.a + 1)
    (x * 1.).sum().backward(); np.testing.assert_allclose(x.grad.a, 2 + 4 * x.a + 2)


def test_outputs_of_split_and_unbind_some_of_them_used():
    x = leaf(5, 2)
    a, b, c = x.split(2); (a.sum() * 3 + (c * c).sum()).backward()
    want = np.zeros((5, 2)); want[:2] = 3; want[4] = 2 * x.a[4]
    np.testing.assert_allclose(x.grad.a, want)
    x.grad = None; rows = x.unbind(0); (rows[1] * rows[3] + rows[1]).sum().backward()
    want = np.zeros((5, 2)); want[1] = x.a[3] + 1; want[3] = x.a[1]
    np.testing.assert_allclose(x.grad.a, want)
    y = x.unbind(1)[0]; (g,) = grad((y ** 3).sum(), x, create_graph=True); (h,) = grad(g.sum(), x)
    np.testing.assert_allclose(h.a, np.stack([6 * x.a[:, 0], 0 * x.a[:, 0]], 1))


# ---- gradients do not share memory -----------------------------------------------------------------------------

def test_no_two_gradients_share_memory():
    x, y = leaf(3), leaf(3); g = np.ones(3)
    (x + y).backward(Tensor(g))
    assert not np.shares_memory(x.grad.a, y.grad.a) and not np.shares_memory(x.grad.a, g) and not np.shares_memory(y.grad.a, g)
    x.grad.a[:] = 7; assert y.grad.a.tolist() == [1, 1, 1] and g.tolist() == [1, 1, 1]
    z = leaf(2, 3); z.reshape(6).backward(Tensor(np.ones(6))); w = leaf(3); s = Tensor(np.ones(3)); w.clone().backward(s)
    assert not np.shares_memory(w.grad.a, s.a) and z.grad.a.flags.writeable
    v = leaf(4); v.sum().backward(); v.grad.a[0] = 5; assert v.grad.a.tolist() == [5, 1, 1, 1], "the gradient of a sum is no view with a stride of zero"
    p, q = leaf(3), leaf(3); dlfs.stack([p, q]).sum().backward(); assert not np.shares_memory(p.grad.a, q.grad.a)
    p.grad = None; (p.sum() + p.sum()).backward(); p.grad.a[0] = 9; assert p.grad.a.tolist() == [9, 2, 2]


def test_leaf_as_root():
    x = leaf(3); s = Tensor(np.ones(3)); x.backward(s)
    assert x.grad.a.tolist() == [1, 1, 1] and not np.shares_memory(x.grad.a, s.a)


# ---- modes -----------------------------------------------------------------------------------------------------

def test_no_grad_and_its_kin():
    x = leaf(3)
    with no_grad():
        assert not is_grad_enabled() and not (x * 2).tracked
        with enable_grad(): assert is_grad_enabled() and (x * 2).tracked
        assert not is_grad_enabled()
    assert (x * 2).tracked
    @no_grad()
    def f(): return x * 2
    @no_grad
    def h(): return x * 2
    @enable_grad()
    def g(): return x * 2
    assert not f().tracked and not h().tracked and f.__name__ == "f"
    with no_grad(): assert g().tracked
    with set_grad_enabled(False): assert not (x * 2).tracked
    set_grad_enabled(False); off = (x * 2).tracked; set_grad_enabled(True); assert not off and (x * 2).tracked
    @set_grad_enabled(False)
    def k(): return x * 2
    assert is_grad_enabled() and not k().tracked
    with pytest.raises(KeyError):
        with no_grad(): raise KeyError
    assert is_grad_enabled(), "an exception switches it back on"


def test_modes_belong_to_threads_and_threads_build_graphs_of_their_own():
    x, seen, grads = leaf(50), [], {}
    def look(): seen.append(is_grad_enabled())
    with no_grad(): t = threading.Thread(target=look); t.start(); t.join()
    assert seen == [True]
    def work(i):
        for _ in range(30):
            y = Tensor(x.a.copy(), True)
            for _ in range(20): y2 = (y * (i + 1)).sum()
            (grads[i],) = grad(y2, y)
    ts = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in ts: t.start()
    for t in ts: t.join()
    assert all((grads[i].a == i + 1).all() for i in range(4))


def test_detach_shares_memory_and_cuts():
    x = leaf(3); d = (x * 2).detach()
    assert not d.tracked and d.is_leaf and (d * x).tracked
    d = x.detach(); assert np.shares_memory(d.a, x.a)
    (x * x.detach()).sum().backward(); np.testing.assert_allclose(x.grad.a, x.a)


def test_leaves():
    x = leaf(3); y = x * 2
    assert x.is_leaf and not y.is_leaf and x.grad_fn is None and y.grad_fn is not None and Tensor(np.ones(2)).is_leaf
    with pytest.raises(RuntimeError, match="leaf"): x.add_(1)
    with pytest.raises(RuntimeError, match="leaf"): x[0] = 1
    with pytest.raises(RuntimeError, match="leaf"): x[:2].mul_(2)
    with no_grad(): x.add_(1); x[0] = 4.
    assert x.a[0] == 4 and x.is_leaf and x.tracked
    with pytest.raises(RuntimeError): y.requires_grad = False
    with pytest.raises(RuntimeError): Tensor(np.arange(3)).requires_grad = True


# ---- hooks -----------------------------------------------------------------------------------------------------

def test_hooks_on_leaves_and_others():
    x, seen = leaf(3), []
    h = x.register_hook(lambda g: seen.append(g.a.copy()))
    y = x * 2; y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert x.grad.a.tolist() == [20, 20, 20] and seen[0].tolist() == [20, 20, 20] and len(seen) == 1, "once, with the whole gradient"
    h.remove(); x.grad = None; (x * x).sum().backward(); assert len(seen) == 1
    k = x.register_hook(lambda g: g * 0); x.grad = None
    (x + x * 2).sum().backward(); assert x.grad.a.tolist() == [0, 0, 0]
    (g,) = grad((x * 2).sum(), x); assert g.a.tolist() == [0, 0, 0], "grad() sees what the hook returns, as in PyTorch"
    k.remove(); k.remove()
    with pytest.raises(RuntimeError, match="doesn't require gradient"): Tensor(np.ones(2)).register_hook(print)


def test_hooks_run_in_the_order_of_registration_and_see_the_sum():
    x, log = leaf(2), []
    y = x * 1.
    y.register_hook(lambda g: (log.append(("a", g.a.tolist())), g * 2)[1]); y.register_hook(lambda g: log.append(("b", g.a.tolist())))
    (y * 3 + y).sum().backward()
    assert log == [("a", [4, 4]), ("b", [8, 8])] and x.grad.a.tolist() == [8, 8]


def test_retain_grad():
    x = leaf(3); y = x * 2; y.retain_grad(); z = y * y; z.sum().backward()
    np.testing.assert_allclose(y.grad.a, 2 * y.a); assert z.grad is None
    y.grad.a[:] = 0; np.testing.assert_allclose(x.grad.a, 8 * x.a)
    x.retain_grad()


# ---- in place --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change", [lambda y: y.mul_(2), lambda y: y[0].add_(1), lambda y: y.view(-1).zero_(), lambda y: y.__setitem__(0, 5.), lambda y: y.T.add_(1)])
@pytest.mark.parametrize("use", [lambda y: y * y, lambda y: y.exp().clone() * y, lambda y: y @ y, lambda y: y ** 3, lambda y: y.norm()])
def test_a_saved_value_that_changed_raises(change, use):
    x = leaf(3, 3); y = x * 2; z = use(y)
    change(y)
    with pytest.raises(RuntimeError, match="inplace operation"): z.sum().backward()


def test_a_change_that_nobody_needs_is_fine():
    x = leaf(3); y = x * 2; z = y + 1  # a sum saves nothing
    y.mul_(5); (z.sum() + y.sum()).backward()
    assert x.grad.a.tolist() == [12, 12, 12]


def test_an_output_that_was_saved_and_changed_raises():
    x = leaf(3); y = x.exp(); y.add_(1)
    with pytest.raises(RuntimeError, match="inplace"): y.sum().backward()


def test_a_leaf_changed_after_it_was_saved_raises():
    x, w = leaf(3), leaf(3, seed=1); y = (x * w).sum()
    with no_grad(): w.add_(1)
    with pytest.raises(RuntimeError, match="inplace"): y.backward()


def program(r):
    "A random program of views and in-place writes over three Tensors, as text that both libraries run."
    lines, names = ["y = x * 1.5", "v0 = y"], ["v0"]
    shape = {"v0": (3, 4)}
    for i in range(1, r.randint(2, 7)):
        src = r.choice(names); s = shape[src]; new = f"v{i}"
        what = r.choice(["row", "t", "slice", "flat", "write", "write", "scale", "setitem", "fresh", "stepped"])
        if what == "row" and len(s) > 1: lines.append(f"{new} = {src}[{r.randrange(s[0])}]"); shape[new] = s[1:]; names.append(new)
        elif what == "t" and len(s) == 2: lines.append(f"{new} = {src}.transpose(0, 1)"); shape[new] = s[::-1]; names.append(new)
        elif what == "slice" and s and s[0] > 1: lines.append(f"{new} = {src}[1:]"); shape[new] = (s[0] - 1,) + s[1:]; names.append(new)
        elif what == "stepped" and s and s[-1] > 1: lines.append(f"{new} = {src}[..., ::2]"); shape[new] = s[:-1] + ((s[-1] + 1) // 2,); names.append(new)
        elif what == "flat" and len(s) == 2 and src == "v0": lines.append(f"{new} = {src}.view(-1)"); shape[new] = (s[0] * s[1],); names.append(new)
        elif what == "write": lines.append(f"{src}.add_(w[0, 0] * {i})")
        elif what == "scale": lines.append(f"{src}.mul_({r.choice([2., -.5])})")
        elif what == "setitem" and s: lines.append(f"{src}[0] = w[{r.randrange(3)}, {r.randrange(4)}]")
        elif what == "fresh": lines.append(f"{new} = {src} + 0.5"); shape[new] = s; names.append(new)
    return "\n".join(lines + ["out = " + " + ".join(f"({n} * {n}).sum()" for n in names)])

@pytest.mark.parametrize("block", range(5))
def test_random_programs_of_views_and_writes(block):
    "Values and gradients of 60 random programs a block are PyTorch's."
    torch = peer(); a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
    agreed = 0
    for seed in range(60):
        text = program(random.Random(1000 * block + seed))
        ours, theirs = dict(x=Tensor(a.copy(), True), w=Tensor(b.copy(), True)), dict(x=torch.tensor(a, requires_grad=True), w=torch.tensor(b, requires_grad=True))
        exec(text, theirs); theirs["out"].backward()
        exec(text, ours); ours["out"].backward()
        np.testing.assert_allclose(ours["out"].a, theirs["out"].item(), rtol=1e-12, err_msg=text)
        for n in "xw":
            if theirs[n].grad is not None: np.testing.assert_allclose(ours[n].grad.a, theirs[n].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=text)
        agreed += 1
    assert agreed == 60


def test_views_see_writes_and_writes_through_views_reach_the_base():
    y = Tensor(np.zeros((2, 3))); v = y[1]; v[0] = 5.; assert y.a[1, 0] == 5
    y.add_(1); assert v.a.tolist() == [6, 1, 1]
    for cut in (y.split(1), y.unbind(0), y.chunk(2)): cut[0].zero_(); assert not y.a[0].any(); y.add_(1)
    x = leaf(4); z = x * 1.; a, b = z.split(2); a.mul_(3); z.sum().backward()
    assert x.grad.a.tolist() == [3, 3, 1, 1]
    x = leaf(4); z = x * 1.; a, b = z.split(2); r = z.unbind(0); z.mul_(x); (b.sum() + r[0]).backward()
    np.testing.assert_allclose(x.grad.a, [2 * x.a[0], 0, 2 * x.a[2], 2 * x.a[3]])


# ---- custom functions ------------------------------------------------------------------------------------------

class Cube(Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x * x * x
    @staticmethod
    def backward(ctx, g): (x,) = ctx.saved_tensors; return g * 3 * x * x

class CubeLater(Function):
    @staticmethod
    def forward(x): return x * x * x
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.save_for_backward(*inputs)
    @staticmethod
    def backward(ctx, g): (x,) = ctx.saved_tensors; return g * 3 * x * x

class SumAndProduct(Function):
    @staticmethod
    def forward(ctx, x, y, scale): ctx.save_for_backward(x, y); ctx.scale = scale; return (x + y) * scale, x * y
    @staticmethod
    def backward(ctx, gs, gp):
        x, y = ctx.saved_tensors
        return gs * ctx.scale + gp * y, gs * ctx.scale + gp * x, None

class Best(Function):
    "Largest entry, and where: an output without a gradient."
    @staticmethod
    def forward(ctx, x):
        i = Tensor(np.asarray(x.a.argmax())); ctx.mark_non_differentiable(i); ctx.i, ctx.n = int(i.a), x.shape[0]
        return x[ctx.i] * 1, i
    @staticmethod
    def backward(ctx, g, _): return dlfs.stack([g * float(j == ctx.i) for j in range(ctx.n)])

@pytest.mark.parametrize("cls", [Cube, CubeLater])
def test_function(cls):
    x = leaf(3); y = cls.apply(x); assert cls.__name__.lower() in repr(y.grad_fn).lower()
    y.sum().backward(); np.testing.assert_allclose(x.grad.a, 3 * x.a ** 2)
    with pytest.raises(RuntimeError, match="retain_graph"): y.sum().backward()
    assert gradcheck(cls.apply, x) and gradgradcheck(cls.apply, x)
    with no_grad(): assert not cls.apply(x).tracked


def test_function_with_several_outputs():
    x, y = leaf(3), leaf(3, seed=1)
    f = lambda x, y: SumAndProduct.apply(x, y, 3.)
    assert gradcheck(f, (x, y)) and gradgradcheck(f, (x, y))
    s, p = f(x, y); p.sum().backward(); np.testing.assert_allclose(x.grad.a, y.a)
    v, i = Best.apply(x); assert not i.tracked and v.tracked and gradcheck(lambda x: Best.apply(x)[0], x)


def test_function_needs_input_grad_and_counts_its_gradients():
    class Look(Function):
        @staticmethod
        def forward(ctx, x, y): return x * y
        @staticmethod
        def backward(ctx, g): Look.needs = ctx.needs_input_grad; return g
    x = leaf(2)
    with pytest.raises(RuntimeError, match="2 inputs"): Look.apply(x, Tensor(np.ones(2))).sum().backward()
    assert Look.needs == (True, False)


def test_function_that_saves_its_output_twice_differentiable_and_without_a_cycle():
    class Exp(Function):
        @staticmethod
        def forward(ctx, x): y = x.exp(); ctx.save_for_backward(y); return y
        @staticmethod
        def backward(ctx, g): (y,) = ctx.saved_tensors; return g * y
    x = leaf(3); assert gradcheck(Exp.apply, x) and gradgradcheck(Exp.apply, x)
    gc.collect(); gc.disable()
    try: y = Exp.apply(x); alive = weakref.ref(y); del y; assert alive() is None
    finally: gc.enable()


# ---- checkpointing, anomalies, NumPy ---------------------------------------------------------------------------

def test_checkpoint_gives_the_same_gradients_random_numbers_included():
    from dlfs.array import manual_seed
    w, x = leaf(5, 5), leaf(2, 5)
    def block(x): return dlfs.nn.functional.dropout((x @ w).tanh(), .5, True) * x
    manual_seed(3); block(block(x)).sum().backward(); want = w.grad.a.copy(), x.grad.a.copy()
    w.grad = x.grad = None; manual_seed(3)
    checkpoint(block, checkpoint(block, x, use_reentrant=False), use_reentrant=False).sum().backward()
    np.testing.assert_array_equal(w.grad.a, want[0]); np.testing.assert_array_equal(x.grad.a, want[1])


def test_checkpoint_saves_memory():
    w = leaf(64, 64)
    def block(x):
        for _ in range(10): x = (x @ w).tanh()
        return x
    def peak(run):
        x = leaf(256, 64); tracemalloc.start()
        try:
            y = x
            for _ in range(6): y = run(block, y)
            y.sum().backward()
            return tracemalloc.get_traced_memory()[1]
        finally: tracemalloc.stop()
    assert peak(checkpoint) < .5 * peak(lambda f, x: f(x))


def test_detect_anomaly_names_the_operation():
    x = Tensor(np.array([0., 1.]), True)
    with detect_anomaly():
        with pytest.raises(RuntimeError, match="sqrt|mul|div"), np.errstate(all="ignore"): (x.sqrt() * 0.).sum().backward()
        with pytest.raises(RuntimeError, match="log"): (x - 1).log()
    assert not is_anomaly_enabled()
    (x * 2).sum().backward()


def test_numpy_arrays_and_scalars_as_operands_keep_the_graph():
    x, a = leaf(3), np.array([1., 2., 3.])
    for f in (lambda: a * x, lambda: x * a, lambda: np.float64(2) * x, lambda: a - x, lambda: a / x, lambda: np.multiply(a, x), lambda: np.exp(x), lambda: np.eye(3) @ x, lambda: np.float32(2) + x):
        y = f(); assert isinstance(y, Tensor) and y.tracked, f
    (a * x).sum().backward(); assert x.grad.a.tolist() == [1, 2, 3]
    assert np.asarray(x.detach()).tolist() == x.a.tolist()


# ---- the checks check ------------------------------------------------------------------------------------------

def test_gradcheck_finds_what_is_wrong():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x): ctx.save_for_backward(x); return x * x
        @staticmethod
        def backward(ctx, g): (x,) = ctx.saved_tensors; return g * x * 2.02
    class WrongSecond(Function):
        @staticmethod
        def forward(ctx, x): ctx.save_for_backward(x); return x * x
        @staticmethod
        def backward(ctx, g): (x,) = ctx.saved_tensors; return g * x.detach() * 2
    x = leaf(3)
    with pytest.raises(RuntimeError, match="numerical"): gradcheck(Wrong.apply, x)
    assert not gradcheck(Wrong.apply, x, raise_exception=False)
    assert gradcheck(WrongSecond.apply, x) and not gradgradcheck(WrongSecond.apply, x, raise_exception=False)
