"The measuring tools of Part I beside SciPy, scikit-learn and PyTorch; the laws that they obey; what they refuse; what they must notice."
import numpy as np
import pytest
pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st

from dlfs.numerics import *
from test_errors import raises

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)
close = np.testing.assert_allclose
inf, nan = np.inf, np.nan
seeds = st.integers(0, 2**32 - 1)

def rng(seed=0): return np.random.default_rng(seed)

@st.composite
def scores(draw, dtype=None):
    "An array of scores and one of its axes."
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    z = rng(draw(seeds)).normal(size=shape) * draw(st.sampled_from([1e-3, 1, 30, 1e4]))
    return z.astype(dtype or draw(st.sampled_from(["f4", "f8"]))), draw(st.integers(-len(shape), len(shape) - 1))

@st.composite
def distribution(draw, k=st.integers(1, 8), batch=st.just(()), zeros=True):
    "Probabilities along the last axis, some of them zero."
    shape = (*draw(batch), draw(k))
    g = rng(draw(seeds))
    p = g.exponential(size=shape) ** draw(st.sampled_from([0.1, 1, 4]))
    if zeros: p = np.where(g.random(shape) < draw(st.sampled_from([0, 0.3, 0.8])), 0, p)
    p[..., g.integers(shape[-1])] += 0.1
    return p / p.sum(-1, keepdims=True)


# ---------------------------------------------------------------- softmax and its relatives

@quick
@given(scores())
def test_softmax_as_in_scipy(drawn):
    special = pytest.importorskip("scipy.special")
    z, axis = drawn
    u = np.finfo(z.dtype).eps
    for f in (softmax, log_softmax, logsumexp):
        before, out = z.copy(), f(z, axis)
        close(out, getattr(special, f.__name__)(z.astype("f8"), axis), rtol=100 * u, atol=4 * u * (1 if f is softmax else max(1, np.abs(z).max())))
        assert out.dtype == z.dtype and (z == before).all(), "another dtype, or the scores were changed"
    assert logsumexp(z, axis, keepdims=True).shape == z.shape[:axis % z.ndim] + (1,) + z.shape[axis % z.ndim + 1:]

@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [0, -1])
def test_softmax_as_in_torch(dtype, axis):
    torch = pytest.importorskip("torch")
    edges = [[1e4, -1e4, 0], [-inf, -inf, -inf], [-inf, 0, 1], [inf, 0, 0], [nan, 0, 0], [88, 89, 90], [1e-30, 0, -1e-30], [0, 0, 0]]
    for z in (rng().normal(size=(8, 3)) * 50, np.array(edges)):
        z = z.astype(dtype); t = torch.tensor(z)
        with np.errstate(invalid="ignore", over="ignore"):
            for f in (softmax, log_softmax, logsumexp):
                close(f(z, axis), getattr(torch, f.__name__)(t, axis).numpy(), rtol=3e-6 if dtype == "float32" else 1e-13, atol=1e-5 if dtype == "float32" else 1e-12)

@quick
@given(scores("f8"), st.floats(-1e3, 1e3))
def test_softmax_laws(drawn, c):
    z, axis = drawn
    p, top, k = softmax(z, axis), z.max(axis), z.shape[axis]
    close(p.sum(axis), 1); assert (p >= 0).all() and (p.argmax(axis) == z.argmax(axis)).all()
    size = 1e-12 * max(1, np.abs(z).max(), abs(c))                      # the shift itself is rounded
    close(softmax(z + c, axis), p, atol=size); close(log_softmax(z + c, axis), log_softmax(z, axis), rtol=1e-12, atol=size)
    close(logsumexp(z + c, axis), logsumexp(z, axis) + c, rtol=1e-12, atol=size)
    close(np.exp(log_softmax(z, axis)), p, rtol=1e-9, atol=1e-300)
    lse = logsumexp(z, axis)
    assert (top <= lse).all() and (lse <= top + np.log(k) + size).all(), "max ≤ log Σ exp ≤ max + log k"

def test_softmax_is_the_slope_of_logsumexp():
    z = rng().normal(size=(3, 4))
    check_gradient(lambda z: logsumexp(z, 1).sum(), lambda z: softmax(z, 1), z)
    check_gradient(lambda z: softmax(z), lambda z: np.diag(softmax(z)) - np.outer(softmax(z), softmax(z)), z[0])
    check_gradient(lambda z: log_softmax(z), lambda z: np.eye(4) - softmax(z), z[0])

def test_scores_of_any_size():
    for z in (np.array([1e308, -1e308]), np.array([3e38, -3e38], "f4"), np.array([6e4, -6e4], "f2")):
        with np.errstate(over="ignore"): assert softmax(z).tolist() == [1, 0] and logsumexp(z) == z[0] and log_softmax(z)[0] == 0
    assert log_softmax(np.array([0.0, -1000.0])).tolist() == [0, -1000], "the logarithm of a probability that underflows"

def test_scores_that_rule_everything_out():
    z = np.array([[-inf, -inf], [0, -inf], [-inf, 3]])
    assert logsumexp(z).tolist() == [-inf, 0, 3] and logsumexp(np.array([inf, 0])) == inf and logsumexp(np.array([inf, -inf])) == inf
    assert softmax(z[1:]).tolist() == [[1, 0], [0, 1]] and log_softmax(z[1:]).tolist() == [[0, -inf], [-inf, 0]]
    with np.errstate(invalid="ignore"): assert np.isnan(softmax(z[0])).all(), "no distribution, and no pretence of one"

def test_softmax_of_nothing():
    "No rows are no trouble; a row without outcomes is."
    for f, shape in ((softmax, (2, 0, 3)), (log_softmax, (2, 0, 3)), (logsumexp, (2, 0))):
        assert f(np.zeros((2, 0, 3))).shape == shape
        with pytest.raises(ValueError): f(np.zeros((2, 0)))

@pytest.mark.parametrize("f", [softmax, log_softmax, logsumexp])
@pytest.mark.parametrize("z", [[1, 2, 3], np.array([1, 2, 3]), np.array([1, 2, 3], "u1"), np.array([100, -100, 0], "i1"), np.array([True, False]), [[0.5, 1.5], [2, 3]]],
                         ids=["list", "int64", "uint8", "int8", "bool", "nested"])
def test_scores_that_are_no_floats(f, z):
    "Whole numbers are taken as what they are: no wrap-around of small ones, no half precision."
    out = f(z)
    close(out, f(np.asarray(z, "f8")), rtol=1e-15)
    assert out.dtype == "f8"


# ---------------------------------------------------------------- entropy and divergence

@quick
@given(st.data())
def test_entropies_as_in_scipy(data):
    stats, special = pytest.importorskip("scipy.stats"), pytest.importorskip("scipy.special")
    k, batch = data.draw(st.integers(1, 8)), data.draw(st.sampled_from([(), (3,), (2, 3)]))
    p, q = (data.draw(distribution(st.just(k), st.just(batch))) for _ in "pq")
    close(entropy(p), stats.entropy(p, axis=-1), atol=1e-15)
    close(kl_divergence(p, q), special.rel_entr(p, q).sum(-1), rtol=1e-9, atol=1e-14)
    close(cross_entropy(p, q), -special.xlogy(p, q).sum(-1), rtol=1e-12, atol=1e-15)

@quick
@given(st.data())
def test_laws_of_entropy(data):
    k = data.draw(st.integers(1, 8))
    p, q, r = (data.draw(distribution(st.just(k), zeros=z)) for z in (True, False, True))
    h = entropy(p)
    assert -1e-15 <= h <= np.log(k) + 1e-12
    close(entropy(np.full(k, 1 / k)), np.log(k), atol=1e-15)
    close(entropy(np.outer(p, r).ravel()), h + entropy(r), atol=1e-12)                       # independent surprises add up
    close(cross_entropy(p, q), h + kl_divergence(p, q), atol=1e-12)
    assert kl_divergence(p, p) == 0 and kl_divergence(p, q) >= np.abs(p - q).sum() ** 2 / 2 - 1e-14, "zero only where p = q (Pinsker)"
    assert (kl_divergence(q, p) == inf) == bool((p == 0).any())

def test_certainty_has_no_entropy():
    for p in ([1, 0], [1.0], [[0, 1, 0]], np.array([0, 1], "f4")):
        assert np.all(entropy(p) == 0) and not np.signbit(entropy(p)).any(), "0, not -0"
        assert not np.signbit(kl_divergence(p, p)).any()

@pytest.mark.parametrize("f", [cross_entropy, kl_divergence])
def test_distributions_of_other_sizes(f):
    "One distribution against many is meant; one outcome against many is a mistake."
    p, q = rng().dirichlet([1, 1], size=(4, 3)), np.array([0.2, 0.8])
    close(f(p, q), [[f(a, q) for a in row] for row in p])
    close(f(q, p), [[f(q, a) for a in row] for row in p])
    for a, b in [([0.5, 0.5], [1.0]), ([1.0], [0.5, 0.5]), ([0.5, 0.5], [[1.0], [1.0]]), ([0.5, 0.5], [0.2, 0.3, 0.5])]:
        with raises(ValueError, "2"): f(a, b)

@pytest.mark.parametrize("f", [cross_entropy, kl_divergence])
def test_outcomes_along_another_axis(f):
    p, q = rng().dirichlet([1, 1, 1], size=(2, 3)), rng(1).dirichlet([1, 1, 1], size=(2, 3))
    for axis in (0, 1, -2, -3): close(f(np.moveaxis(p, -1, axis), np.moveaxis(q, -1, axis), axis), f(p, q))
    close(f(p[0].T, q[0, 0], 0), f(p[0], q[0, 0]))                      # a single one has only one axis to lie along

def test_precision_of_a_distribution():
    p = np.full((10**6, 2), 1e-6, "f4")
    check_probabilities(p, 0); check_probabilities(p[:, 0])
    for seed in range(50): check_probabilities(softmax(rng(seed).normal(size=10).astype("f2")))
    assert entropy(np.array([0.5, 0.5], "f4")).dtype == "f4" and check_probabilities([0, 1]).dtype == check_probabilities([True, False]).dtype == "f8"
    assert check_probabilities(np.zeros((0, 3))).shape == (0, 3)


# ---------------------------------------------------------------- drawing

class Fixed:
    "A generator whose uniform numbers are all `u`."
    def __init__(self, u): self.u = u
    def random(self, shape=None): return np.full(shape, self.u) if shape else self.u

@quick
@given(distribution(st.integers(1, 12)), st.sampled_from(["f2", "f4", "f8"]), st.floats(0, 1, exclude_max=True), st.integers(0, 3))
def test_what_cannot_happen_is_not_drawn(p, dtype, u, tail):
    p = np.append(p, np.zeros(tail)).astype(dtype)
    edges = np.cumsum(p.astype("f8")); edges = edges[edges < 1]
    for u in (0.0, u, np.nextafter(1, 0), *edges, *np.nextafter(edges, 0)): assert p[sample_categorical(p, Fixed(float(u)))] > 0, u

@quick
@given(distribution(st.integers(2, 6), st.sampled_from([(), (3,), (2, 0), (2, 3)])), st.sampled_from([None, 0, 1, 5]), seeds)
def test_shapes_of_draws(p, size, seed):
    x = sample_categorical(p, rng(seed), size)
    assert np.shape(x) == (() if size is None else (size,)) + p.shape[:-1] and x.dtype.kind == "i"
    assert (np.take_along_axis(np.broadcast_to(p, (*np.shape(x), p.shape[-1])), x[..., None], -1) > 0).all()
    assert (x == sample_categorical(p, rng(seed), size)).all(), "one seed, one result"

def test_frequencies():
    stats = pytest.importorskip("scipy.stats")
    p = rng(3).dirichlet(np.ones(6), size=4); p[1, 2] = 0; p /= p.sum(-1, keepdims=True)
    for dtype in ("f4", "f8"):
        x = sample_categorical(p.astype(dtype), rng(5), 20_000)
        for j in range(4):
            some = p[j] > 0
            counts = np.bincount(x[:, j], minlength=6)
            assert counts.sum() == counts[some].sum() and stats.chisquare(counts[some], 20_000 * p[j, some]).pvalue > 1e-3
        joint = np.histogram2d(x[:, 0], x[:, 1], bins=np.arange(-0.5, 6))[0][:, p[1] > 0]        # each distribution has uniform numbers of its own
        assert stats.chi2_contingency(joint).pvalue > 1e-3

def test_many_outcomes_in_single_precision():
    "The running sum of a large vocabulary must not drift: 0.8995 is below the first outcome's 0.9."
    p = np.append(0.9, np.full(2**16, 0.1 / 2**16)).astype("f4")
    assert sample_categorical(p, Fixed(0.8995)) == 0 and sample_categorical(p, Fixed(0.95)) in range(2**15 - 99, 2**15 + 101)


# ---------------------------------------------------------------- derivatives by measurement

shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)

@quick
@given(shapes, shapes, seeds)
def test_jacobian_of_a_linear_map(inner, outer, seed):
    "Any shape to any shape, numbers and empty arrays included; the Jacobian is the map."
    M = rng(seed).normal(size=outer + inner)
    J = jacobian_fd(lambda x: np.tensordot(M, x, len(inner)), rng(seed).normal(size=inner))
    assert J.shape == outer + inner and J.dtype == "f8"
    close(J, M, atol=1e-8)

@pytest.mark.parametrize("f, shape", [
    (lambda m, x: m.sin(x).sum(), (2, 3)), (lambda m, x: m.exp(x) * x.sum(), (4,)), (lambda m, x: (x @ x.T)[0], (2, 3)),
    (lambda m, x: m.cos(x) * x, ()), (lambda m, x: x[..., None] * m.tanh(x), (3,)), (lambda m, x: x.sum() ** 2 + m.exp(-x), ())],
    ids=["number of a matrix", "vector", "row of a product", "number of a number", "table of a vector", "one of one"])
def test_jacobian_as_in_torch(f, shape):
    torch = pytest.importorskip("torch")
    x = rng(1).normal(size=shape)
    theirs = torch.autograd.functional.jacobian(lambda x: f(torch, x), torch.tensor(x)).numpy()
    ours = jacobian_fd(lambda x: f(np, x), x)
    assert ours.shape == theirs.shape
    close(ours, theirs, atol=1e-8)
    check_gradient(lambda x: f(np, x), lambda x: theirs, x)

def test_jacobian_takes_what_it_gets():
    square = lambda x: x ** 2
    for x in (np.array([1, 2]), [1, 2], (1.0, 2.0), np.array([1, 2], "f4"), np.array([1, 2], "u1")): close(jacobian_fd(square, x), [[2, 0], [0, 4]])
    assert jacobian_fd(square, 3).shape == () and jacobian_fd(lambda x: [x[0], 2 * x[1]], [1, 2]).tolist() == pytest.approx(np.diag([1, 2]))
    assert jacobian_fd(lambda x: x.sum(), np.zeros((2, 0))).shape == (2, 0) and jacobian_fd(lambda x: x[:0], np.zeros(2)).shape == (0, 2)

def test_error_of_differences_is_of_second_order():
    error = [abs(jacobian_fd(np.exp, 1.0, h) - np.e) for h in (1e-2, 1e-3)]
    assert 95 < error[0] / error[1] < 105 and error[1] == pytest.approx(np.e * 1e-6 / 6, rel=1e-3)


A = np.array([[1.0, 2.0, -3.0], [0.5, -1.0, 2.0], [4.0, 0.25, 1.0]])
at = np.array([0.3, -0.7, 1.1])
def curve(x): return np.tanh(A @ x)
def slope(x): return (1 - curve(x) ** 2)[:, None] * A
def one(i, change):
    def changed(J): J[i] = change(J[i]); return J
    return changed

@pytest.mark.parametrize("change, parts", [
    (lambda J: -J, ("claims", "measure", "9 of 9")), (lambda J: J.T, ("6 of 9",)), (lambda J: 2 * J, ("9 of 9",)), (lambda J: 0 * J, ("claims 0",)), (lambda J: J[::-1], ("are off",)),
    (one((1, 2), lambda v: 1.01 * v), ("(1, 2)", "1 of 9")), (one((2, 0), lambda v: nan), ("(2, 0)", "nan", "1 of 9")), (one((0, 1), lambda v: -inf), ("(0, 1)", "-inf")),
    (lambda J: J.ravel(), ("shape (9,)", "(3, 3)")), (lambda J: J[:, :2], ("shape (3, 2)", "(3, 3)")), (lambda J: J.sum(), ("shape ()", "(3, 3)"))],
    ids=["sign", "transpose", "factor", "zero", "order", "one entry by 1 %", "nan", "infinite", "flat", "cut", "number"])
def test_planted_errors_are_caught(change, parts):
    assert check_gradient(curve, slope, at) < 1e-8
    with raises(AssertionError, "check_gradient", *parts): check_gradient(curve, lambda x: change(slope(x)), at)

def test_two_nans_do_not_agree():
    with raises(AssertionError, "nan"): check_gradient(lambda x: x * nan, lambda x: np.eye(3) * nan, at)

def test_the_worst_entry_is_named():
    "Not the one with the largest error, where that is within the tolerance of its size."
    with raises(AssertionError, "at (1,)", "claims 1.01", "1 of 2"): check_gradient(lambda x: 1e9 * x[0] + x[1], lambda x: np.array([1e9 + 100, 1.01]), [0.0, 0.0])

def test_an_error_within_tolerance():
    "The result is the largest difference, and the tolerance is the caller's."
    off = lambda x: slope(x) + 1e-3
    assert check_gradient(curve, off, at, atol=1e-2) == pytest.approx(1e-3, rel=1e-3)
    with raises(AssertionError, "9 of 9"): check_gradient(curve, off, at, rtol=0, atol=1e-4)
    assert check_gradient(lambda x: x.sum(), np.ones_like, np.zeros(0)) == 0

@pytest.mark.parametrize("x", [[1.0, 2.0], [1, 2], np.array([1, 2]), np.array([1, 2], "f4")], ids=["list", "list of ints", "ints", "float32"])
def test_both_functions_get_the_same_array(x):
    check_gradient(lambda x: (1 / x).sum(), lambda x: -x ** -2, x)
    check_gradient(lambda x: (x * x).sum(), lambda x: 2 * x, x)

def test_functions_that_write():
    "Into what they are given, or into one array that they return again and again."
    def doubled(x): x *= 2; return x
    buffer = np.empty(3)
    def reused(x): np.multiply(x, 3, out=buffer); return buffer
    x = at.copy()
    close(jacobian_fd(doubled, x), 2 * np.eye(3), atol=1e-8); assert (x == at).all()
    close(jacobian_fd(reused, x), 3 * np.eye(3), atol=1e-8)
    check_gradient(lambda x: (x * x).sum(), doubled, x); assert (x == at).all()
    close(descend(doubled, x, 0.1, 2), [at, 0.8 * at, 0.64 * at]); assert (x == at).all()
    close(descend(reused, x, 0.1, 2), [at, 0.7 * at, 0.49 * at])


# ---------------------------------------------------------------- descent

H = np.array([[3.0, 1.0], [1.0, 2.0]])
def pull(x): return H @ x - np.array([1.0, -1.0])
start = np.array([2.0, -3.0])

@pytest.mark.parametrize("library", ["torch", "dlfs"])
@pytest.mark.parametrize("momentum, nesterov", [(0, False), (0.9, False), (0.5, True), (0.9, True)])
def test_descent_as_in_sgd(library, momentum, nesterov):
    "SGD keeps the sum of gradients, u = -v / lr; and its parameters under Nesterov are the places that are looked at, x + βv."
    torch = pytest.importorskip(library)
    x = torch.tensor(start, dtype=torch.float64).requires_grad_()
    opt = torch.optim.SGD([x], lr=0.05, momentum=momentum, nesterov=nesterov)
    theirs = [start]
    for _ in range(40):
        x.grad = torch.tensor(pull(x.detach().numpy()), dtype=torch.float64); opt.step()
        theirs.append(x.detach().numpy().copy())
    path = descend(pull, start, 0.05, 40, momentum, nesterov)
    if nesterov: path = path + momentum * np.diff(path, axis=0, prepend=path[:1])
    close(path, theirs, rtol=1e-12, atol=1e-12)

@quick
@given(st.floats(0.01, 0.5), st.integers(0, 30), seeds)
def test_path_on_a_parabola(lr, steps, seed):
    "For many starts at once: x after t steps is (I - ηH)^t x."
    x = rng(seed).normal(size=(5, 2))
    path = descend(lambda x: x @ H, x, lr, steps)
    assert path.shape == (steps + 1, 5, 2)
    close(path[-1], x @ np.linalg.matrix_power(np.eye(2) - lr * H, steps), rtol=1e-9, atol=1e-9)
    close(path[:, 0], descend(lambda x: x @ H, x[0], lr, steps))

def test_descent_takes_what_it_gets():
    for x in (1, 1.0, [1], [[1, 2], [3, 4]], np.array([1, 2], "f4")):
        path = descend(lambda x: 2 * x, x, 0.25, 2)
        assert path.dtype == "f8"; close(path, np.multiply.outer([1, 0.5, 0.25], x))
    x = np.array([1.0, 2.0]); descend(pull, x, 0.1, 3); assert x.tolist() == [1, 2]
    close(descend(lambda x: [2 * x[0]], [1.0], 0.25, 1), [[1], [0.5]])


# ---------------------------------------------------------------- folds and calibration

@quick
@given(st.integers(2, 40), st.integers(2, 40), seeds)
def test_every_example_is_held_out_once(n, k, seed):
    k = min(n, k)
    folds = k_fold(n, k, rng(seed))
    assert len(folds) == k and sorted(np.concatenate([held for _, held in folds])) == list(range(n))
    for train, held in folds: assert sorted([*train, *held]) == list(range(n))
    sizes = [len(held) for _, held in folds]
    assert max(sizes) - min(sizes) <= 1
    model_selection = pytest.importorskip("sklearn.model_selection")
    assert sizes == [len(held) for _, held in model_selection.KFold(k).split(np.zeros(n))]
    assert all((a == b).all() for one, other in zip(folds, k_fold(n, k, rng(seed))) for a, b in zip(one, other))

def test_folds_are_shuffled():
    first = [k_fold(100, 5, rng(s))[0][1].tolist() for s in range(3)]
    assert first[0] != first[1] != first[2] and all(np.mean(f) > 25 for f in first)

@quick
@given(st.integers(1, 200), st.integers(1, 20), seeds)
def test_calibration_as_in_sklearn(n, bins, seed):
    calibration = pytest.importorskip("sklearn.calibration")
    confidence = rng(seed).random(n); hit = rng(seed).random(n) < confidence ** 2
    claimed, happened, count = calibration_curve(confidence, hit, bins)
    close(count, (full := np.histogram(confidence, bins, (0, 1))[0])[full > 0])
    close(count @ happened, hit.sum()); close(count @ claimed, confidence.sum())
    if 0 < hit.sum() < n:
        theirs = calibration.calibration_curve(hit, confidence, n_bins=bins)
        close(happened, theirs[0]); close(claimed, theirs[1])

def test_ends_of_the_scale():
    claimed, happened, count = calibration_curve([0, 0.5, 1, 1], [0, 1, 1, 0], 2)
    assert claimed.tolist() == pytest.approx([0, 2.5 / 3]) and happened.tolist() == pytest.approx([0, 2 / 3]) and count.tolist() == [1, 3]
    assert [v.tolist() for v in calibration_curve([0.7], [True])] == [[0.7], [1.0], [1]]


# ---------------------------------------------------------------- what is refused

half = [0.5, 0.5]
REFUSED = [
    (lambda: check_probabilities([]), ValueError, ("p: ", "at least one outcome", "(0,)")),
    (lambda: check_probabilities(np.zeros((3, 0)), name="prior"), ValueError, ("prior: ", "at least one outcome", "(3, 0)")),
    (lambda: check_probabilities(1.0), ValueError, ("at least one outcome", "()")),
    (lambda: check_probabilities([-0.1, 1.1]), ValueError, ("not negative", "-0.1")),
    (lambda: check_probabilities([nan, 1]), ValueError, ("not nan", "nan")),
    (lambda: check_probabilities([inf, 1]), ValueError, ("sum to 1", "inf")),
    (lambda: check_probabilities([0.5, 0.6]), ValueError, ("sum to 1 along axis -1", "1.1")),
    (lambda: check_probabilities([[0.5, 0.5], [0.5, 0.4]]), ValueError, ("sum to 1", "0.9")),
    (lambda: check_probabilities([[0.5, 0.5], [0.5, 0.4]], 0), ValueError, ("axis 0", "0.9")),
    (lambda: entropy([1, 2]), ValueError, ("p: ", "sum to 1", "3")),
    (lambda: cross_entropy(half, [0.5, 0.4]), ValueError, ("q: ", "0.9")),
    (lambda: kl_divergence([0.5, 0.4], half), ValueError, ("p: ", "0.9")),
    (lambda: kl_divergence(half, [nan, 1]), ValueError, ("q: ", "nan")),
    (lambda: sample_categorical([0.5, 0.6], rng()), ValueError, ("p: ", "1.1")),
    (lambda: sample_categorical([], rng()), ValueError, ("at least one outcome",)),
    (lambda: descend(lambda x: x.sum(), [1, 2], 0.1, 1), ValueError, ("descend", "(2,)", "()", "agree")),
    (lambda: descend(lambda x: x[None], [1, 2], 0.1, 1), ValueError, ("descend", "(2,)", "(1, 2)")),
    (lambda: k_fold(5, 1, rng()), ValueError, ("k_fold", "2", "5", "got 1")),
    (lambda: k_fold(5, 6, rng()), ValueError, ("k_fold", "5", "got 6")),
    (lambda: k_fold(1, 2, rng()), ValueError, ("k_fold", "1", "got 2")),
    (lambda: k_fold(10, 2.5, rng()), (ValueError, TypeError), ("2.5",)),
    (lambda: calibration_curve(half, [1]), ValueError, ("calibration_curve", "(2,)", "(1,)")),
    (lambda: calibration_curve([half], [half]), ValueError, ("calibration_curve", "(1, 2)")),
    (lambda: calibration_curve(0.5, 1), ValueError, ("calibration_curve", "()")),
    (lambda: calibration_curve([], []), ValueError, ("calibration_curve", "no claims")),
    (lambda: calibration_curve([1.1], [1]), ValueError, ("calibration_curve", "between 0 and 1")),
    (lambda: calibration_curve([-0.1], [1]), ValueError, ("calibration_curve", "between 0 and 1")),
    (lambda: calibration_curve([nan], [1]), ValueError, ("calibration_curve", "between 0 and 1")),
    (lambda: calibration_curve(half, [nan, 1]), ValueError, ("calibration_curve", "nan")),
    (lambda: calibration_curve(half, [7, 1]), ValueError, ("calibration_curve", "7")),
    (lambda: calibration_curve(half, [0, 1], 0), ValueError, ("calibration_curve", "bins", "0")),
]
@pytest.mark.parametrize("i", range(len(REFUSED)))
def test_refused(i):
    call, kind, parts = REFUSED[i]
    with raises(kind, *parts): call()
