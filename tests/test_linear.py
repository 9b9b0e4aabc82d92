"Linear models beside scikit-learn; the equations that define them; what they refuse, and where they must say that they did not get there."
import warnings
import numpy as np
import pytest
pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st

from dlfs.linear import *
from dlfs.numerics import *
from test_errors import raises, words

quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)
close = np.testing.assert_allclose
seeds = st.integers(0, 2**32 - 1)
exact = dict(tol=1e-10, steps=100_000)

def rng(seed=0): return np.random.default_rng(seed)

def table(seed=0, n=50, d=3, noise=1.0):
    "Features, targets, and the weights and bias behind them."
    g = rng(seed)
    X, w, b = g.normal(size=(n, d)), g.normal(size=d), g.normal()
    return X, X @ w + b + noise * g.normal(size=n), w, b

def classes(seed=0, n=90, d=3, c=3):
    "Overlapping clouds of c classes."
    g = rng(seed)
    y = np.arange(n) % c
    return g.normal(size=(n, d)) + 1.5 * g.normal(size=(c, d))[y], y

def same(fit, other, **tol):
    for a, b in zip(fit, other): close(a, b, **dict(rtol=1e-9, atol=1e-9) | tol)

X, Y, _, _ = table()
Z, C = classes()
FITS = [least_squares, lambda X, y: ridge(X, y, 0.5)]
each_fit = pytest.mark.parametrize("fit", FITS, ids=["least_squares", "ridge"])


# ---------------------------------------------------------------- least squares

@quick
@given(st.integers(1, 6), st.integers(0, 40), seeds)
def test_least_squares_as_in_sklearn(d, more, seed):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y, _, _ = table(seed, d + 2 + more, d)
    w, b = least_squares(X, y)
    theirs = linear_model.LinearRegression().fit(X, y)
    condition = np.linalg.cond(np.column_stack([X, np.ones(len(X))]))
    same((w, b), (theirs.coef_, theirs.intercept_), rtol=1e-13 * condition ** 2, atol=1e-13 * condition ** 2)
    residual = y - X @ w - b
    close(X.T @ residual, 0, atol=1e-11 * condition); close(residual.sum(), 0, atol=1e-11 * condition)

@quick
@given(st.integers(0, 5), st.integers(0, 10), seeds)
def test_what_is_linear_is_found(d, more, seed):
    "Without noise, from d + 1 examples on."
    X, y, w, b = table(seed, d + 1 + more, d, noise=0)
    condition = np.linalg.cond(np.column_stack([X, np.ones(len(X))]))
    same(least_squares(X, y), (w, b), rtol=1e-12, atol=1e-13 * condition)

@each_fit
def test_symmetries(fit):
    w, b = fit(X, Y)
    same(fit(X[::-1], Y[::-1]), (w, b)); same(fit(X[:, ::-1], Y), (w[::-1], b))
    same(fit(X + 7, Y), (w, b - 7 * w.sum()))                              # where zero lies is the bias's business
    same(fit(X, 3 * Y - 2), (3 * w, 3 * b - 2))

def test_units():
    w, b = least_squares(X, Y)
    same(least_squares(X * [1, 1000, 1e-3], Y), (w / [1, 1000, 1e-3], b))

@pytest.mark.parametrize("scale", [1e-8, 1e-13, 1e-20, 1e-34, 1e8, 1e20, 1e150])
def test_units_that_differ_much(scale):
    "Farads beside ohms: a column is not superfluous because its numbers are small."
    w, b = least_squares(X, Y)
    same(least_squares(X * [1, 1, scale], Y), (w / [1, 1, scale], b), atol=0, rtol=1e-9)

@pytest.mark.parametrize("zero", [2e3, 1e6, 1.7e9])
def test_features_far_from_zero(zero):
    "A date in seconds since 1970 and a bias point almost the same way; but not quite."
    t = zero + np.arange(100.0)
    w, b = least_squares(t[:, None], 3 * (t - zero) + 5)
    close(w, 3, rtol=1e-15 * zero); close(w * zero + b, 5, atol=1e-14 * zero ** 2 / 100)

@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n", [8, 100, 3000])
def test_collinear_features_are_noticed(n, seed):
    "Up to the rounding of a sum, in whatever units."
    g = rng(seed)
    d = g.integers(1, 6)
    A = g.normal(size=(n, d)) * 10.0 ** g.integers(-3, 4, size=d)
    A = np.column_stack([A, A @ g.normal(size=d) + g.integers(2) * g.normal()])
    with raises(np.linalg.LinAlgError, "least_squares", f"rank {d + 1}", f"{d + 2} coefficients", "ridge"): least_squares(A, g.normal(size=n))

@pytest.mark.parametrize("extra", [X[:, :1], np.ones((50, 1)), np.full((50, 1), 0.1), np.zeros((50, 1)), np.eye(3)[np.arange(50) % 3], X[:, :1] / 3 + X[:, 1:2] / 7 - 0.3],
                         ids=["twice", "ones", "constant", "zeros", "a dummy for each of three classes", "sum"])
def test_features_that_say_nothing_new(extra):
    A = np.hstack([X, extra])
    with raises(np.linalg.LinAlgError, "least_squares", "50 examples of rank", f"{A.shape[1] + 1} coefficients", "ridge"): least_squares(A, Y)
    w, b = ridge(A, Y, 1e-3)                                               # and there it goes
    assert np.isfinite(w).all() and np.square(Y - A @ w - b).mean() < Y.var()

@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_examples(n):
    with raises(np.linalg.LinAlgError, "least_squares", f"{n} examples", "4 coefficients", "ridge"): least_squares(X[:n], Y[:n])

@each_fit
def test_without_features(fit): same(fit(X[:, :0], Y), (np.zeros(0), Y.mean()))


# ---------------------------------------------------------------- ridge

@quick
@given(st.integers(1, 40), st.integers(1, 30), st.sampled_from([1e-2, 1, 100]), seeds)
def test_ridge_as_in_sklearn(n, d, l2, seed):
    "More features than examples, too."
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y, _, _ = table(seed, n, d)
    w, b = ridge(X, y, l2)
    theirs = linear_model.Ridge(alpha=l2).fit(X, y)
    same((w, b), (theirs.coef_, theirs.intercept_))
    residual = y - X @ w - b
    close(X.T @ residual, l2 * w, atol=1e-10, rtol=1e-10); close(residual.sum(), 0, atol=1e-10)         # the gradient is zero

def test_strength_of_ridge():
    w, b = least_squares(X, Y)
    same(ridge(X, Y, 1e-9), (w, b), atol=1e-8)
    sizes = [np.linalg.norm(ridge(X, Y, l2)[0]) for l2 in 10.0 ** np.arange(-3, 7)]
    assert (np.diff(sizes) < 0).all() and sizes[0] < np.linalg.norm(w)
    same(ridge(X, Y, 1e15), (np.zeros(3), Y.mean()), atol=1e-12)
    same(ridge(np.vstack([X, X]), np.append(Y, Y), 2.0), ridge(X, Y, 1.0))                              # on the scale of the sum
    same(ridge(X[:1], Y[:1], 1.0), (np.zeros(3), Y[0]))

def test_ridge_with_a_penalty_lost_to_rounding():
    "Where λ vanishes beside XᵀX the failure is ours to explain."
    with raises(np.linalg.LinAlgError, "ridge", "l2"): ridge(np.c_[X, X[:, 0]] * 1e9, Y, 1e-3)


# ---------------------------------------------------------------- softmax regression

def loss(theta, X, y, l2):
    W, b = theta[:, :-1], theta[:, -1]
    return -log_softmax(X @ W.T + b)[np.arange(len(y)), y].mean() + l2 / 2 * (W ** 2).sum()

@pytest.mark.parametrize("l2", [1e-2, 0.1, 10])
@pytest.mark.parametrize("c", [3, 5])
def test_softmax_regression_as_in_sklearn(c, l2):
    "C multiplies the *sum* of the losses, so C = 1 / (n λ); the bias is free in both."
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = classes(1, c=c)
    theirs = linear_model.LogisticRegression(C=1 / (len(y) * l2), solver="newton-cg", tol=1e-12, max_iter=10_000).fit(X, y)
    same(softmax_regression(X, y, l2, **exact), (theirs.coef_, theirs.intercept_), atol=1e-6, rtol=1e-6)

def test_two_classes_as_in_sklearn():
    "One weight vector w = w₁ - w₀ there, two here, which share it: ½λ(|w₀|² + |w₁|²) = ¼λ|w|², hence C = 2 / (n λ)."
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = classes(2, c=2)
    theirs = linear_model.LogisticRegression(C=2 / (len(y) * 0.1), solver="newton-cg", tol=1e-12, max_iter=10_000).fit(X, y)
    W, b = softmax_regression(X, y, 0.1, **exact)
    close(W[1] - W[0], theirs.coef_[0], rtol=1e-6); close(b[1] - b[0], theirs.intercept_[0], rtol=1e-6)

@quick
@given(st.integers(1, 4), st.integers(0, 4), st.sampled_from([0.01, 0.1, 1]), seeds)
def test_it_stops_where_it_says(c, d, l2, seed):
    X, y = classes(seed, 40, d, c)
    W, b = softmax_regression(X, y, l2, steps=20_000, tol=1e-6)
    assert W.shape == (c, d) and b.shape == (c,)
    assert np.abs(jacobian_fd(lambda t: loss(t, X, y, l2), np.column_stack([W, b]))).max() < 1.1e-6
    close(W.sum(0), 0, atol=1e-10); close(b.sum(), 0, atol=1e-10)          # from zero, nothing ever pushes all classes at once

def test_symmetries_of_classes():
    W, b = softmax_regression(Z, C, 0.1, **exact)
    turned = softmax_regression(Z, (C + 1) % 3, 0.1, **exact)
    same(turned, (np.roll(W, 1, 0), np.roll(b, 1)), atol=1e-7)
    same(softmax_regression(np.vstack([Z, Z]), np.append(C, C), 0.1, **exact), (W, b), atol=1e-7)      # on the scale of the mean
    same(softmax_regression(Z + 2, C, 0.1, **exact), (W, b - 2 * W.sum(1)), atol=1e-6)

def test_one_class():
    same(softmax_regression(Z, np.zeros(90, int)), (np.zeros((1, 3)), np.zeros(1)))

def test_class_that_never_occurs():
    "It keeps its row, and is all but ruled out."
    some = C != 1
    W, b = softmax_regression(Z[some], C[some], 0.1, steps=5000)
    assert W.shape == (3, 3) and softmax(Z[some] @ W.T + b)[:, 1].mean() < 2e-5
    assert softmax_regression(Z, np.full(90, 2), steps=5000)[1].argmax() == 2

def test_frequencies_are_learned_from_nothing():
    W, b = softmax_regression(np.zeros((10, 0)), np.repeat([0, 1, 2], [2, 3, 5]), tol=1e-9)
    assert W.shape == (3, 0); close(softmax(b), [0.2, 0.3, 0.5], atol=1e-7)

@pytest.mark.parametrize("dtype, c", [("u1", 256), ("i1", 128), ("i4", 3), ("u8", 3)])
def test_classes_of_every_integer_type(dtype, c):
    "The largest class of a small type: 255 + 1 is not 0."
    y = np.array([0, c - 1] * 4).astype(dtype)
    W, b = softmax_regression(np.linspace(-1, 1, 8)[:, None], y, 1.0, steps=20_000)
    assert W.shape == (c, 1) and b.shape == (c,) and np.isfinite(b).all()

def test_features_of_different_scale():
    "Scaled, it arrives; unscaled, it cannot in a thousand steps, and has to say so."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        softmax_regression(Z, C, 0.1)
    far = Z * [1, 100, 1e4]
    with pytest.warns(RuntimeWarning, match=words("softmax_regression", "gradient", "1000 steps")): W, b = softmax_regression(far, C, 0.1)
    assert loss(np.column_stack([W, b]), far, C, 0.1) < np.log(3), "unfinished, but no worse than at the start"
    with pytest.warns(RuntimeWarning, match=words("softmax_regression", "3 steps")): softmax_regression(Z, C, steps=3)


# ---------------------------------------------------------------- what they take

@pytest.mark.filterwarnings("ignore:softmax_regression")
@pytest.mark.parametrize("fit", FITS + [lambda X, y: softmax_regression(X, y, steps=100)], ids=["least_squares", "ridge", "softmax_regression"])
def test_lists_and_whole_numbers(fit):
    for a in (Z, np.round(Z * 10).astype(int), np.round(Z * 10).astype("i1"), Z.astype("f4")):
        same(fit(a.tolist(), C.tolist()), fit(a.astype("f8"), C)); same(fit(a, C), fit(a.astype("f8"), C))
        assert all(np.asarray(v).dtype == "f8" for v in fit(a, C))
    kept = Z.copy(), C.copy()
    fit(*kept); assert (kept[0] == Z).all() and (kept[1] == C).all()

@each_fit
@pytest.mark.parametrize("dtype", ["f2", "f4", "i1", "u1", "?"])
def test_targets_of_every_type(fit, dtype):
    "The arithmetic is done in double precision, whatever holds the targets."
    y = (100 * (Y > 0) + 20 if dtype != "?" else Y > 0).astype(dtype)
    y[::3] = y[1]
    same(fit(X, y), fit(X, y.astype("f8")), rtol=1e-13, atol=1e-13)
    if dtype in ("f2", "f4"): same(fit(X, (1000 * Y).astype(dtype)), fit(X, (1000 * Y).astype(dtype).astype("f8")), rtol=1e-12, atol=1e-10)


# ---------------------------------------------------------------- what is refused

NAMED = {"least_squares": least_squares, "ridge": lambda X, y: ridge(X, y, 1.0), "softmax_regression": softmax_regression}

@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("change, parts", [
    (lambda X, y: (X[0], y), ("table", "(3,)")), (lambda X, y: (X[None], y), ("table", "(1, 90, 3)")), (lambda X, y: (1.0, y), ("table", "()")),
    (lambda X, y: (X[:0], y[:0]), ("no examples",)), (lambda X, y: (X, y[:-1]), ("90 rows", "(89,)")), (lambda X, y: (X, y[:, None]), ("vector", "(90, 1)")),
    (lambda X, y: (X, 1), ("vector", "()")), (lambda X, y: (X, np.eye(3)[y]), ("vector", "(90, 3)")), (lambda X, y: (X.T, y), ("3 rows", "(90,)")),
    (lambda X, y: (np.where(X == X[4, 1], np.nan, X), y), ("nan or infinity",)), (lambda X, y: (np.where(X == X[4, 1], -np.inf, X), y), ("nan or infinity",)),
    (lambda X, y: (X, np.where(y == 1, np.nan, y)), ("nan or infinity",)), (lambda X, y: (X, np.where(y == 1, np.inf, y)), ("nan or infinity",)),
    (lambda X, y: (X, np.array(["red", "green", "blue"])[y]), ("y",)), (lambda X, y: (X, y * 1j), ("y",))],
    ids=["vector", "three axes", "number", "empty", "too short", "column", "one target", "one-hot", "transposed", "nan in X", "inf in X", "nan in y", "inf in y", "names", "complex"])
def test_no_data_for_a_fit(name, change, parts):
    with raises((ValueError, TypeError), name, *parts): NAMED[name](*change(Z, C))

@pytest.mark.parametrize("l2", [0, 0.0, -1e-9, -1, np.nan, np.inf])
def test_penalty_of_ridge(l2):
    with raises(ValueError, "ridge", "l2", "positive", str(l2)): ridge(X, Y, l2)

@pytest.mark.parametrize("l2", [-1e-9, -1, np.nan, np.inf])
def test_penalty_of_softmax_regression(l2):
    with raises(ValueError, "softmax_regression", "l2", str(l2)): softmax_regression(Z, C, l2)

@pytest.mark.parametrize("y", [C - 1, C.astype(float), C == 1, C + 0.5], ids=["negative", "float", "bool", "between"])
def test_classes_that_are_none(y):
    with raises(ValueError, "softmax_regression", "whole numbers from 0"): softmax_regression(Z, y)
