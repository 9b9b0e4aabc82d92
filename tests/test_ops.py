"Every operation of ops_list.py: values and gradients beside PyTorch, finite differences, the edges, and errors planted in every rule."
import functools, random, warnings
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, assume, given, settings, strategies as st

import dlfs
import dlfs.nn.functional
from dlfs import autodiff, ops
from dlfs.autodiff import OPS, Tensor, grad, gradcheck, gradgradcheck
from ops_list import CASES, PUBLIC_HELPERS, Draws, Leaf

OPS = dict(OPS)  # as of now: other tests run notebooks that register operations of their own

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's about variances of one number; NumPy's about nan


class Ours:
    "dlfs, and the operations that have no public name."
    cast, move = staticmethod(OPS["cast"]), staticmethod(OPS["move"])
    bce, masked = staticmethod(OPS["bce"]), staticmethod(OPS["masked"])
    dropped, embedding_grad, bias_act = staticmethod(OPS["dropout"]), staticmethod(OPS["embedding_grad"]), staticmethod(dlfs.nn.functional.bias_act)
    def __getattr__(self, name): return getattr(dlfs, name)
class Theirs:
    cast, move = staticmethod(lambda x, d: x * 1), staticmethod(lambda x, d: x.cpu())
    bce = staticmethod(lambda x, y: torch.nn.functional.binary_cross_entropy(*torch.broadcast_tensors(x, y), reduction="none"))
    masked = staticmethod(lambda x, mask: torch.where(torch.as_tensor(mask), x, torch.zeros((), dtype=x.dtype)))
    dropped = staticmethod(lambda x, p, key: x * torch.as_tensor(dlfs.nn.functional._survivors(tuple(x.shape), p, key)) / (1 - p))
    bias_act = staticmethod(lambda x, b, f: getattr(torch.nn.functional, f)(x + b))
    @staticmethod
    def embedding_grad(rows, index, n, padding):
        out = torch.zeros(n, rows.shape[-1], dtype=rows.dtype).index_add(0, index, rows)
        return out.masked_fill((torch.arange(n) == padding)[:, None], 0)
    def __getattr__(self, name): return getattr(torch, name)
OURS, THEIRS = Ours(), Theirs()
each = pytest.mark.parametrize("case", CASES, ids=str)


# ---- running a case on both sides ------------------------------------------------------------------------------

def ours(x, dtype): return Tensor(x.a if x.a.dtype == dtype else x.a.astype(dtype), True) if isinstance(x, Leaf) else Tensor(x) if isinstance(x, np.ndarray) else x
def theirs(x, dtype): return torch.tensor(np.array(x.a, dtype), requires_grad=True) if isinstance(x, Leaf) else torch.tensor(np.array(x)) if isinstance(x, np.ndarray) else x

def flat(out): return list(out) if isinstance(out, (tuple, list)) else [out]
def is_live(t): return t.tracked if isinstance(t, Tensor) else t.requires_grad
def numpy(t): return t.a if isinstance(t, Tensor) else t.detach().numpy()

def run(T, make, case, xs, dtype=np.float64):
    "Outputs, and the gradient of a fixed random weighting of them with respect to every leaf (zeros for None)."
    xs = [make(x, dtype) for x in xs]
    outs = flat(case.f(T, *xs))
    live, leaves = [o for o in outs if is_live(o)], [x for x in xs if hasattr(x, "requires_grad") and is_live(x)]
    gs = []
    if live and leaves:
        w = [np.random.default_rng(i).normal(size=tuple(o.shape)).astype(str(o.dtype).removeprefix("torch.")) for i, o in enumerate(live)]
        if T is OURS: gs = grad(live, leaves, [Tensor(np.asarray(a)) for a in w], allow_unused=True)
        else: gs = torch.autograd.grad(live, leaves, [torch.tensor(a) for a in w], allow_unused=True)
    gs = gs or [None] * len(leaves)
    return [numpy(o) for o in outs], [np.zeros(tuple(x.shape), dtype) if g is None else numpy(g) for x, g in zip(leaves, gs)]

def agree(a, b, rtol, atol, what):
    assert a.shape == b.shape, f"{what}: shape {a.shape}, PyTorch's {b.shape}"
    assert a.dtype == b.dtype, f"{what}: dtype {a.dtype}, PyTorch's {b.dtype}"
    np.testing.assert_allclose(a, b, rtol, atol, equal_nan=True, err_msg=what)

def compare(case, xs, dtype=np.float64, rtol=1e-10, atol=1e-11, slopes=True):
    "False if PyTorch refuses these inputs: some axis that is not there, which we refuse too, or what only its memory layout forbids."
    try: (b, gb), fails = run(THEIRS, theirs, case, xs, dtype), None
    except (RuntimeError, IndexError, ValueError) as e: fails = e
    if fails is not None:
        if isinstance(fails, IndexError):
            with pytest.raises((RuntimeError, IndexError, ValueError)): run(OURS, ours, case, xs, dtype)
        return False
    rtol = max(rtol, case.rtol)
    a, ga = run(OURS, ours, case, xs, dtype)
    assert len(a) == len(b) and (len(ga) == len(gb) or not slopes)
    for i, (x, y) in enumerate(zip(a, b)): agree(x, y, rtol, atol, f"output {i}")
    if slopes:
        for i, (x, y) in enumerate(zip(ga, gb)): agree(x, y, rtol, atol, f"gradient {i}")
    return True

def hypothesis_draws(data): return Draws(lambda lo, hi: data.draw(st.integers(lo, hi)))
def seeded(seed, plain=True):
    r = random.Random(seed)
    return Draws(r.randint, plain)


# ---- beside PyTorch --------------------------------------------------------------------------------------------

@each
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_like_pytorch(case, data):
    "Shapes, axes, broadcasting, empty and 0-dimensional, not contiguous: values and gradients to 1e-10, dtypes equal."
    assume(compare(case, case.sample(hypothesis_draws(data))))


@each
def test_float32(case):
    if not case.float32: pytest.skip("about float64")
    assert any([compare(case, case.sample(seeded(seed)), np.float32, rtol=2e-4, atol=2e-4) for seed in range(4)])


def sprinkle(xs, seed):
    "Every leaf with a nan, an inf, a -inf or a zero here and there."
    rng, out = np.random.default_rng(seed), []
    for x in xs:
        if isinstance(x, Leaf):
            a = np.array(x.a, "f8")
            where = rng.random(a.shape) < .3
            a[where] = rng.choice([np.nan, np.inf, -np.inf, 0.], size=where.sum())
            x = Leaf(a)
        out.append(x)
    return out


@each
def test_nan_and_infinity_go_where_pytorch_puts_them(case):
    if not case.nan: pytest.skip("the order of arithmetic shows")
    for seed in range(6): compare(case, sprinkle(case.sample(seeded(seed)), seed), slopes=False)


GRID = [np.nan, np.inf, -np.inf, 0., -0., 1., -1., 2.5, -.5, 1e-30, 800., -800.]

@pytest.mark.parametrize("case", [c for c in CASES if c.elementwise], ids=str)
def test_slopes_at_the_edges(case):
    "Elementwise: values and slopes at nan, infinities, zeros and where functions over- and underflow."
    n = sum(isinstance(x, Leaf) for x in case.sample(seeded(0)))
    xs = np.array(GRID) if n == 1 else np.array([(a, b) for a in GRID for b in GRID]).T
    compare(case, [Leaf(x) for x in np.atleast_2d(xs)], atol=1e-12, slopes=not case.odd_slope)


def test_empty_and_scalar_inputs_are_drawn():
    "The generator does make what the tests above are said to cover."
    seen = set()
    for seed in range(300):
        x = seeded(seed, plain=False)
        x = x.leaf(x.shape()).a
        seen |= {"empty"} if not x.size else {"scalar"} if not x.ndim else {"broadcast"} if 0 in x.strides and max(x.shape) > 1 else {"strided"} if not x.flags.c_contiguous else {"plain"}
    assert seen == {"empty", "scalar", "broadcast", "strided", "plain"}


# ---- finite differences ----------------------------------------------------------------------------------------

def checkable(case, seed):
    "A function of the leaves alone, and the leaves."
    xs = [ours(x, np.float64) for x in case.sample(seeded(seed))]
    leaves = [i for i, x in enumerate(xs) if isinstance(x, Tensor) and x.tracked]
    for i in leaves: xs[i] = Tensor(np.array(xs[i].a), True)
    def f(*ls):
        args = list(xs)
        for i, l in zip(leaves, ls): args[i] = l
        return tuple(o for o in flat(case.f(OURS, *args)) if o.dtype.kind == "f")
    return f, [xs[i] for i in leaves]


@each
def test_gradcheck(case):
    if not case.check: pytest.skip("no derivative, or not in float64")
    for seed in range(3): assert gradcheck(*checkable(case, seed))


@each
def test_gradgradcheck(case):
    if not (case.check and case.twice): pytest.skip("not differentiable twice")
    for seed in range(2):
        f, xs = checkable(case, seed)
        if any(o.tracked for o in f(*xs)): assert gradgradcheck(f, xs)


# ---- nothing is missing ----------------------------------------------------------------------------------------

def trace(outs):
    "The names of the operations in the graph above `outs`, each with the arrays whose rules would run."
    todo, seen, found = [o.node for o in outs if o.node is not None], set(), set()
    while todo:
        node = todo.pop()
        if id(node) in seen: continue
        seen.add(id(node))
        plan = node.plan if isinstance(node.plan, autodiff.Plan) else getattr(node.saved, "plan", None)
        if plan is not None:
            for i, rule in plan.rules: found.add((plan.op.name, plan.op.arrays[0 if plan.op.variadic else i]))
        todo += [e for e in node.edges if isinstance(e, autodiff.Node)]
    return found

@functools.cache
def coverage():
    "Which cases (and seeds) use which rule: {(operation, array): [(case, seed), …]}, the case of that name first."
    out = {}
    for case in CASES:
        if not case.check: continue
        for seed in range(3):
            try: f, xs = checkable(case, seed); found = trace(f(*xs))
            except Exception: continue  # its own tests say what is wrong
            for key in found: out.setdefault(key, []).append((case, seed))
    return {k: sorted(v, key=lambda c: c[0].name != k[0]) for k, v in out.items()}


def test_every_operation_is_in_the_list():
    missing = [f"{name}({array})" for name, call in OPS.items() for array in call.op.rules if (name, array) not in coverage()]
    assert not missing, f"operations whose rules no case of tests/ops_list.py uses: {missing}"


def test_every_public_function_is_in_the_list():
    listed = {c.name for c in CASES}
    missing = [n for n in ops.__all__ if n not in PUBLIC_HELPERS | listed and callable(getattr(ops, n)) and not isinstance(getattr(ops, n), type)]
    assert not missing, f"public functions that tests/ops_list.py lacks: {missing}"


def test_every_function_is_also_a_method_if_pytorch_has_one():
    names = [n for n in ops.__all__ if hasattr(torch.Tensor, n) and not hasattr(Tensor, n)]
    assert not names


# ---- bad input -------------------------------------------------------------------------------------------------

x34, ints = Tensor(np.ones((3, 4))), Tensor(np.array([0, 1]))
BAD = [
    (lambda: dlfs.mm(x34, ints), ValueError, r"mm: mat2 must have 2 axes, got \(2,\)"),
    (lambda: dlfs.bmm(dlfs.zeros(2, 3, 4), dlfs.zeros(3, 4, 5)), ValueError, "batches of 2 and 3"),
    (lambda: dlfs.dot(dlfs.zeros(2), dlfs.zeros(3)), ValueError, "lengths 2 and 3"),
    (lambda: x34.split(0), RuntimeError, "split: pieces of length 0"), (lambda: x34.split([1, 1]), RuntimeError, r"\[1, 1\] do not add up"),
    (lambda: x34.chunk(0), RuntimeError, "at least one piece"), (lambda: dlfs.zeros(()).split(1), ValueError, "scalar"),
    (lambda: x34.topk(5), RuntimeError, "topk: k=5 is out of range for an axis of length 4"), (lambda: x34.kthvalue(0), RuntimeError, "kthvalue: k=0"),
    (lambda: dlfs.max(dlfs.zeros(0, 3)), ValueError, "no entries"), (lambda: dlfs.zeros(0, 3).max(0), IndexError, "no entries along axis 0"),
    (lambda: ints.std(), RuntimeError, "std: only of floating tensors, not int64"), (lambda: ints.norm(), RuntimeError, "norm: only of floating"),
    (lambda: x34.cumsum(2), IndexError, "cumsum: dimension out of range"), (lambda: x34.sort(-3), IndexError, "sort: dimension out of range"),
    (lambda: x34.scatter(1, dlfs.zeros(3, 4), x34), TypeError, "index must be an integer"), (lambda: x34.scatter(1, Tensor(np.full((3, 1), 4)), 1.), IndexError, "index 4 is out of bounds for axis 1 of length 4"),
    (lambda: x34.scatter(1, Tensor(np.zeros((3, 2), int)), dlfs.zeros(3, 1, dtype=dlfs.float64)), ValueError, r"index \(3, 2\) is larger than src \(3, 1\)"),
    (lambda: x34.index_select(0, Tensor(np.array([3]))), IndexError, "index 3 is out of bounds for axis 0 of length 3"), (lambda: x34.index_select(0, x34), TypeError, "integer"),
    (lambda: x34.masked_fill(x34, 0.), TypeError, "mask must be a bool"), (lambda: x34.masked_select(ints), TypeError, "mask must be a bool"),
    (lambda: x34.clamp(), ValueError, "min and max"), (lambda: x34.tril(9).narrow(1, 3, 2), ValueError, "narrow"), (lambda: x34.select(0, 3), IndexError, "select: index 3"),
    (lambda: x34.repeat(2), ValueError, "repeat: 1 numbers"), (lambda: x34.unflatten(1, (3, -1)), ValueError, "do not fill axis 1"), (lambda: x34.diag_embed().diag(), ValueError, "vector or a matrix"),
    (lambda: x34[0].tril(), ValueError, "at least two axes"), (lambda: x34.broadcast_to((3, 5)), ValueError, "does not broadcast"), (lambda: x34.sum_to_size(2), ValueError, "sum_to_size"),
    (lambda: dlfs.cdist(x34, x34.T), ValueError, "different lengths"), (lambda: dlfs.tensordot(x34, x34, 1), ValueError, "do not match"), (lambda: dlfs.div(x34, 2, rounding_mode="up"), RuntimeError, "rounding_mode"),
    (lambda: ints % 0, RuntimeError, "ZeroDivisionError"), (lambda: x34.max(1, depth=3), TypeError, "depth"), (lambda: dlfs.meshgrid(ints, indexing="ji"), RuntimeError, "'ij' or 'xy'"),
    (lambda: dlfs.logaddexp(x34, ints), ValueError, "logaddexp: .* shapes do not broadcast"),
]

@pytest.mark.parametrize("call,error,words", BAD, ids=[str(i) for i in range(len(BAD))])
def test_a_wrong_call_says_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words): call()


# ---- errors planted in every rule ------------------------------------------------------------------------------

RULES = [(name, array) for name, call in OPS.items() for array in call.op.rules]

def notices(case, seed):
    "Does the case's own check fail?"
    f, xs = checkable(case, seed)
    try: return not gradcheck(f, xs, raise_exception=False)
    except Exception: return True

class Planted:
    "An operation's rule replaced, and put back afterwards."
    def __init__(self, name, array, change):
        self.op, self.array = OPS[name].op, array
        self.rule, self.joint, self.ran = self.op.rules[array], self.op.joint, 0
        @functools.wraps(self.rule)  # the engine reads a rule's parameters, which `wraps` passes on
        def wrong(*args):
            g = self.rule(*args); bad = change(g)
            if bad is not None: self.ran += 1
            return g if bad is None else bad
        self.wrong = wrong
    def __enter__(self): self.op.rules[self.array] = self.wrong; self.op.joint = None; self.op.plans.clear(); return self
    def __exit__(self, *_): self.op.rules[self.array] = self.rule; self.op.joint = self.joint; self.op.plans.clear()

def factor(g):
    if isinstance(g, Tensor) or not g.size: return None
    return g + .5 if not g.any() else g * 1.01 if np.abs(g).max() > .05 else None

def dropped(g):
    if isinstance(g, Tensor) or not g.size: return None
    if not g.any(): return g + 1
    if np.abs(g).max() < .05: return None
    g = g.copy(); g[np.unravel_index(np.abs(g).argmax(), g.shape)] = 0
    return g

@pytest.mark.parametrize("change", [factor, dropped])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: "-".join(r))
def test_a_wrong_rule_is_noticed(rule, change):
    tried = 0
    for case, seed in coverage().get(rule, []):
        with Planted(*rule, change) as p:
            found = notices(case, seed)
        if p.ran:
            assert found, f"{case} did not notice a wrong {rule}"
            assert not notices(case, seed), "and is content again with the right one"
            return
        tried += 1
    pytest.fail(f"in {tried} samples no gradient of {rule} was large enough to spoil")


def broadcasting():
    "Elementwise operations of several arrays: the engine sums their gradients over what was broadcast."
    return [n for n, call in OPS.items() if call.op.elementwise and len(call.op.rules) > 1]

@pytest.mark.parametrize("name", broadcasting() + ["expand", "matmul"])
def test_a_missing_sum_over_a_broadcast_axis_is_noticed(name, monkeypatch):
    mine = [c for c in CASES if c.name == name and c.check] or [c for c, _ in coverage()[name, next(iter(OPS[name].op.rules))]]
    skipped = []
    def unsummed(g, shape):
        extra = g.ndim - len(shape)
        if isinstance(g, Tensor) or not g.size: return right(g, shape)
        cut = tuple([0] * extra + [slice(0, 1) if n == 1 else slice(None) for n in shape])
        if g[cut].size != g.size: skipped.append(1)
        return g[cut].reshape(shape)
    right = autodiff.unbroadcast
    missed = None
    for case in dict.fromkeys(mine):
        for seed in range(12):
            skipped.clear()
            with monkeypatch.context() as m:
                for module in (autodiff, ops): m.setattr(module, "unbroadcast", unsummed)
                found = notices(case, seed)
            if skipped and found:
                assert not notices(case, seed)
                return
            if skipped and any_slope(case, seed): missed = case
    if missed: pytest.fail(f"{missed} did not notice")
    if any(any_slope(case, seed) for case in mine for seed in range(3)): pytest.fail(f"no sample of {name} broadcasts")

def any_slope(case, seed):
    f, xs = checkable(case, seed)
    outs = [o for o in f(*xs) if o.tracked]
    return bool(outs) and any(g is not None and g.a.any() for g in grad(outs, xs, [Tensor(np.ones(o.shape)) for o in outs], allow_unused=True))
