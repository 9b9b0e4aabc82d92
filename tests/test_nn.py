"""Layers, activations, losses, containers, initialisers and gradient utilities beside PyTorch's.

Values and gradients in float64, to a relative 1e-10, over random shapes, options and special values.
"""
import copy, inspect, math, warnings
import numpy as np
import pytest
import dlfs

torch = pytest.importorskip("torch")
pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies as st

LIBS = (dlfs, torch)
quick = settings(max_examples=30, deadline=None, derandomize=True, database=None,
                 suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
pytestmark = pytest.mark.filterwarnings("ignore")
NAN, INF = float("nan"), float("inf")
SHAPES = [(), (1,), (5,), (0,), (2, 3), (0, 3), (3, 0), (2, 3, 2), (1, 1)]


def array(t): return np.asarray(t.detach().numpy())

def same(ours, theirs, what="value", rtol=1e-10, atol=1e-11):
    ours, theirs = array(ours), array(theirs)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, PyTorch's {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"{what}: dtype {ours.dtype}, PyTorch's {theirs.dtype}"
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True, err_msg=what)

def leaves(lib, arrays, frozen=()):
    "The arrays as tensors of `lib`; those of floats want a gradient, unless `frozen`."
    made = [lib.from_numpy(np.array(a)) for a in arrays]
    return [t.requires_grad_(True) if a.dtype.kind == "f" and i not in frozen else t for i, (t, a) in enumerate(zip(made, arrays))]

def agree(fn, *arrays, frozen=(), seed=0, **tol):
    """`fn(lib, *tensors)` on both libraries: the value, and the gradient of <value, random> for each tensor."""
    arrays = [np.asarray(a) for a in arrays]
    results = []
    for lib in LIBS:
        xs = leaves(lib, arrays, frozen)
        y = fn(lib, *xs)
        if y.requires_grad:
            cotangent = np.random.default_rng(seed).normal(size=tuple(y.shape))
            y.backward(lib.from_numpy(np.asarray(cotangent)))
        results.append((y, [x.grad for x in xs]))
    (y, ours), (t, theirs) = results
    same(y, t, **tol)
    assert y.requires_grad == t.requires_grad
    for i, (g, h) in enumerate(zip(ours, theirs)):
        if h is None: assert g is None or not array(g).any(), f"gradient of input {i}: PyTorch has none"
        else:
            assert g is not None, f"gradient of input {i} is missing"
            same(g, h, f"gradient of input {i}", **tol)
    return y

def weights_from(ours, theirs):
    "PyTorch's weights in our module, by name."
    ours.load_state_dict({k: dlfs.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()})

def modules_agree(make, *arrays, frozen=(), **tol):
    "A module made in both libraries, same weights: outputs, gradients of inputs and of every parameter."
    ours, theirs = make(dlfs).double(), make(torch).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    weights_from(ours, theirs)
    y = agree(lambda lib, *xs: (ours if lib is dlfs else theirs)(*xs), *arrays, frozen=frozen, **tol)
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if q.grad is not None: same(p.grad, q.grad, f"gradient of {name}", **tol)
    return y

def rng_of(seed): return np.random.default_rng(seed)


# ---------------------------------------------------------------- activations

ACTIVATIONS = [  # module, arguments of the module, function, arguments of the function
    ("ReLU", {}, "relu", {}), ("LeakyReLU", {}, "leaky_relu", {}), ("LeakyReLU", dict(negative_slope=0.3), "leaky_relu", dict(negative_slope=0.3)),
    ("Softplus", {}, "softplus", {}), ("Softplus", dict(beta=2.0, threshold=5.0), "softplus", dict(beta=2.0, threshold=5.0)),
    ("ELU", {}, "elu", {}), ("ELU", dict(alpha=0.6), "elu", dict(alpha=0.6)), ("GELU", {}, "gelu", {}),
    ("GELU", dict(approximate="tanh"), "gelu", dict(approximate="tanh")), ("SiLU", {}, "silu", {}), ("Sigmoid", {}, "sigmoid", {}),
    ("Tanh", {}, "tanh", {}), ("Hardtanh", {}, "hardtanh", {}), ("Hardtanh", dict(min_val=-2.0, max_val=0.5), "hardtanh", dict(min_val=-2.0, max_val=0.5)),
    ("Softmax", dict(dim=-1), "softmax", dict(dim=-1)), ("LogSoftmax", dict(dim=-1), "log_softmax", dict(dim=-1)), ("Softmin", dict(dim=-1), "softmin", dict(dim=-1)),
    ("LogSigmoid", {}, "logsigmoid", {}),
]
EXTRAS = [("ReLU6", {}, "relu6", {}), ("SELU", {}, "selu", {}), ("CELU", dict(alpha=0.5), "celu", dict(alpha=0.5)), ("Mish", {}, "mish", {}),
          ("Hardswish", {}, "hardswish", {}), ("Hardsigmoid", {}, "hardsigmoid", {}), ("Softsign", {}, "softsign", {}),
          ("Tanhshrink", {}, "tanhshrink", {}), ("Softshrink", {}, "softshrink", {}), ("Hardshrink", {}, "hardshrink", {}),
          ("GLU", dict(dim=0), "glu", dict(dim=0)), ("Threshold", dict(threshold=0.1, value=20.0), "threshold", dict(threshold=0.1, value=20.0))]
ACTIVATIONS += [e for e in EXTRAS if hasattr(dlfs.nn, e[0])]
LOOSE = {"hardsigmoid": dict(rtol=1e-7)}     # PyTorch's sixth is rounded to float32
ids = [f"{m}{list(o.values()) or ''}" for m, o, _, _ in ACTIVATIONS]

@pytest.mark.parametrize("module, options, function, arguments", ACTIVATIONS, ids=ids)
def test_activation(module, options, function, arguments):
    softmaxes = "dim" in options
    @quick
    @given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 99), scale=st.sampled_from([0.1, 1.0, 10.0, 100.0]))
    def check(shape, seed, scale):
        if function == "glu": shape = (2,) + shape
        if softmaxes and (len(shape) == 0 or shape[-1] == 0): return
        x = rng_of(seed).normal(size=shape) * scale
        agree(lambda lib, t: getattr(lib.nn, module)(**options)(t), x, seed=seed, **LOOSE.get(function, {}))
        agree(lambda lib, t: getattr(lib.nn.functional, function)(t, **arguments), x, seed=seed, **LOOSE.get(function, {}))
    check()

@pytest.mark.parametrize("module, options, function, arguments", ACTIVATIONS, ids=ids)
def test_activation_at_special_values(module, options, function, arguments):
    x = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, -3.0, 6.0, 19.999, 20.0, 20.001, 1e3, -1e3])
    agree(lambda lib, t: getattr(lib.nn.functional, function)(t, **arguments), x, **LOOSE.get(function, {}))
    x = np.array([[INF, 0.0, 1.0], [-INF, 0.0, 1.0], [NAN, 0.0, 1.0], [0.0, 1.0, 2.0]])
    agree_values(lambda lib, t: getattr(lib.nn.functional, function)(t, **arguments), x)

def agree_values(fn, *arrays):
    "Values only (for places where PyTorch's own gradient is an accident of its formula)."
    ours, theirs = (fn(lib, *leaves(lib, [np.asarray(a) for a in arrays])) for lib in LIBS)
    same(ours, theirs)
    return ours

@pytest.mark.parametrize("function", ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "hardtanh", "silu"])
def test_activation_gradient_at_infinity(function):
    if function == "silu": x = [INF, 700.0, -700.0]     # at -inf PyTorch's is nan, by 0 * inf
    else: x = [INF, -INF, NAN]
    agree(lambda lib, t: getattr(lib.nn.functional, function)(t), np.array(x))

@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("function", ["softmax", "log_softmax", "softmin"])
def test_softmaxes_over_each_axis(function, dim):
    x = rng_of(dim % 3).normal(size=(2, 3, 4)) * 5
    agree(lambda lib, t: getattr(lib.nn.functional, function)(t, dim=dim), x)
    module = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "softmin": "Softmin"}[function]
    agree(lambda lib, t: getattr(lib.nn, module)(dim)(t), x)

def test_softmaxes_of_huge_scores():
    x = np.array([[1e4, 1e4 - 1, 0], [-1e4, 0, 3], [1e308, -1e308, 0]])
    agree(lambda lib, t: lib.nn.functional.log_softmax(t, dim=1), x)
    agree(lambda lib, t: lib.nn.functional.softmax(t, dim=1), x)

@pytest.mark.parametrize("number", [1, 4])
def test_prelu(number):
    def make(lib): return lib.nn.PReLU(number, init=0.1)
    modules_agree(make, rng_of(0).normal(size=(3, 4, 2)))
    modules_agree(make, np.array([[0.0, -0.0, INF, -INF]]) if number == 4 else np.array([0.0, -1.0, 2.0]))
    agree(lambda lib, x, w: lib.nn.functional.prelu(x, w), rng_of(1).normal(size=(2, 4)), rng_of(2).normal(size=(number,)))


# ---------------------------------------------------------------- layers

@quick
@given(n=st.sampled_from([(), (4,), (0,), (2, 3)]), i=st.integers(1, 5), o=st.integers(1, 4), bias=st.booleans(), seed=st.integers(0, 99))
def test_linear(n, i, o, bias, seed):
    x = rng_of(seed).normal(size=n + (i,))
    modules_agree(lambda lib: lib.nn.Linear(i, o, bias=bias), x)
    W, b = rng_of(1).normal(size=(o, i)), rng_of(2).normal(size=o)
    agree(lambda lib, x, W, *b: lib.nn.functional.linear(x, W, *b), x, W, *([b] if bias else []))

@quick
@given(n=st.sampled_from([(), (4,), (0,), (2, 3)]), i=st.integers(1, 4), j=st.integers(1, 4), o=st.integers(1, 3), bias=st.booleans(), seed=st.integers(0, 99))
def test_bilinear(n, i, j, o, bias, seed):
    rng = rng_of(seed)
    modules_agree(lambda lib: lib.nn.Bilinear(i, j, o, bias=bias), rng.normal(size=n + (i,)), rng.normal(size=n + (j,)))
    agree(lambda lib, *t: lib.nn.functional.bilinear(*t), rng.normal(size=n + (i,)), rng.normal(size=n + (j,)), rng.normal(size=(o, i, j)), *([rng.normal(size=o)] if bias else []))

@pytest.mark.parametrize("options", [{}, dict(start_dim=0), dict(start_dim=1, end_dim=2), dict(start_dim=-2, end_dim=-1)])
def test_flatten(options): modules_agree(lambda lib: lib.nn.Flatten(**options), rng_of(0).normal(size=(2, 3, 4, 5)))

@pytest.mark.parametrize("dim, sizes", [(1, (2, 6)), (1, (3, 2, 2)), (-1, (2, -1)), (0, (1, 3))])
def test_unflatten(dim, sizes): modules_agree(lambda lib: lib.nn.Unflatten(dim, sizes), rng_of(0).normal(size=(3, 12)))

def test_identity(): modules_agree(lambda lib: lib.nn.Identity(54, unused=0.1), rng_of(0).normal(size=(3, 2)))

@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_dropout(p):
    n = 40_000
    x = dlfs.ones(n, dtype=dlfs.float64, requires_grad=True)
    layer = dlfs.nn.Dropout(p)
    dlfs.manual_seed(0)
    y = layer(x)
    y.sum().backward()
    kept = array(y) != 0
    assert abs(kept.mean() - (1 - p)) <= 5 * math.sqrt(p * (1 - p) / n)
    if p < 1: np.testing.assert_allclose(array(y)[kept], 1 / (1 - p), rtol=1e-12)
    np.testing.assert_array_equal(array(x.grad), array(y))                   # the gradient goes where the value went
    layer.eval()
    np.testing.assert_array_equal(array(layer(x)), array(x))
    assert dlfs.nn.functional.dropout(dlfs.zeros(0, 3), p).shape == (0, 3)
    np.testing.assert_array_equal(array(dlfs.nn.functional.dropout(x, p, training=False)), array(x))
    dlfs.manual_seed(3); a = array(dlfs.nn.functional.dropout(x, 0.5))
    dlfs.manual_seed(3); b = array(dlfs.nn.functional.dropout(x, 0.5))
    c = array(dlfs.nn.functional.dropout(x, 0.5))
    assert (a == b).all() and (a != c).any()

@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_dropout_refuses_no_probability(p):
    with pytest.raises(ValueError): dlfs.nn.Dropout(p)(dlfs.ones(3))


# ---------------------------------------------------------------- functions of vectors

@quick
@given(seed=st.integers(0, 99), p=st.sampled_from([1.0, 2.0, 3.0, INF]), dim=st.sampled_from([0, 1, -1]), shape=st.sampled_from([(3, 4), (2, 3, 4), (0, 3), (1, 1)]))
def test_normalize(seed, p, dim, shape):
    if p == INF and 0 in shape: return
    agree(lambda lib, x: lib.nn.functional.normalize(x, p=p, dim=dim), rng_of(seed).normal(size=shape))

def test_normalize_zero_vector(): agree(lambda lib, x: lib.nn.functional.normalize(x), np.array([[0.0, 0.0], [3.0, 4.0]]))

@quick
@given(seed=st.integers(0, 99), dim=st.sampled_from([0, 1, -1]), shapes=st.sampled_from([((3, 4), (3, 4)), ((1, 4), (3, 4)), ((2, 3, 4), (2, 3, 4)), ((0, 3), (0, 3))]))
def test_cosine_similarity(seed, dim, shapes):
    rng = rng_of(seed)
    x, y = (rng.normal(size=s) for s in shapes)
    agree(lambda lib, x, y: lib.nn.functional.cosine_similarity(x, y, dim=dim), x, y)
    agree(lambda lib, x, y: lib.nn.CosineSimilarity(dim)(x, y), x, y)

def test_cosine_similarity_of_zero_and_nan():
    agree(lambda lib, x, y: lib.nn.functional.cosine_similarity(x, y), np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 2.0], [1.0, NAN]]))

@quick
@given(seed=st.integers(0, 99), p=st.sampled_from([1.0, 2.0, 3.0, INF]), keepdim=st.booleans(), shape=st.sampled_from([(4,), (3, 4), (2, 3, 4), (0, 3)]))
def test_pairwise_distance(seed, p, keepdim, shape):
    rng = rng_of(seed)
    x, y = rng.normal(size=shape), rng.normal(size=shape)
    agree(lambda lib, x, y: lib.nn.functional.pairwise_distance(x, y, p, keepdim=keepdim), x, y)
    agree(lambda lib, x, y: lib.nn.PairwiseDistance(p, keepdim=keepdim)(x, y), x, y)

def test_pairwise_distance_of_equals(): agree(lambda lib, x, y: lib.nn.functional.pairwise_distance(x, y), np.ones((2, 3)), np.ones((2, 3)))

@pytest.mark.parametrize("numbers, classes", [([0, 2, 1], -1), ([[0], [3]], 5), ([], 3), (2, -1)])
def test_one_hot(numbers, classes):
    t = np.array(numbers, dtype="int64")
    same(dlfs.nn.functional.one_hot(dlfs.from_numpy(t), classes), torch.nn.functional.one_hot(torch.from_numpy(t), classes))


# ---------------------------------------------------------------- losses

def reals(rng, shape): return rng.normal(size=shape) * 2
def probabilities(rng, shape): return rng.uniform(0.01, 0.99, size=shape)
def positives(rng, shape): return rng.uniform(0.1, 3, size=shape)
def signs(rng, shape): return rng.choice([-1.0, 1.0], size=shape)
def counts(rng, shape): return rng.poisson(2, size=shape).astype("float64")

LOSSES = [  # function, module, the tensors, option sets; shapes are the same for all tensors
    ("mse_loss", "MSELoss", [reals, reals], [{}]),
    ("l1_loss", "L1Loss", [reals, reals], [{}]),
    ("smooth_l1_loss", "SmoothL1Loss", [reals, reals], [{}, dict(beta=0.3), dict(beta=2.0), dict(beta=0.0)]),
    ("huber_loss", "HuberLoss", [reals, reals], [{}, dict(delta=0.3), dict(delta=2.0)]),
    ("binary_cross_entropy", "BCELoss", [probabilities, probabilities], [{}]),
    ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss", [reals, probabilities], [{}]),
    ("kl_div", "KLDivLoss", [reals, positives], [{}]),
    ("kl_div", "KLDivLoss", [reals, reals], [dict(log_target=True)]),
    ("gaussian_nll_loss", "GaussianNLLLoss", [reals, reals, positives], [{}, dict(full=True), dict(eps=0.5)]),
    ("poisson_nll_loss", "PoissonNLLLoss", [reals, counts], [{}, dict(full=True)]),
    ("poisson_nll_loss", "PoissonNLLLoss", [positives, counts], [dict(log_input=False), dict(log_input=False, full=True, eps=1e-4)]),
    ("soft_margin_loss", "SoftMarginLoss", [reals, signs], [{}]),
    ("margin_ranking_loss", "MarginRankingLoss", [reals, reals, signs], [{}, dict(margin=0.7)]),
    ("hinge_embedding_loss", "HingeEmbeddingLoss", [positives, signs], [{}, dict(margin=2.0)]),
]
CONSTANT = {"signs", "counts"}  # targets that are labels, not numbers to differentiate

@pytest.mark.parametrize("function, module, kinds, option_sets", LOSSES, ids=[f"{l[0]}-{i}" for i, l in enumerate(LOSSES)])
def test_elementwise_loss(function, module, kinds, option_sets):
    frozen = tuple(i for i, k in enumerate(kinds) if k.__name__ in CONSTANT)
    @quick
    @given(shape=st.sampled_from(SHAPES), reduction=st.sampled_from(["none", "mean", "sum"]), options=st.sampled_from(option_sets), seed=st.integers(0, 99))
    def check(shape, reduction, options, seed):
        rng = rng_of(seed)
        arrays = [k(rng, shape) for k in kinds]
        if "beta" not in options or options["beta"] > 0 or not frozen:
            agree(lambda lib, *t: getattr(lib.nn.functional, function)(*t, reduction=reduction, **options), *arrays, frozen=frozen, seed=seed)
        agree(lambda lib, *t: getattr(lib.nn, module)(reduction=reduction, **options)(*t), *arrays, frozen=frozen, seed=seed)
    check()
    rng = rng_of(5)     # the defaults of both
    arrays = [k(rng, (3, 2)) for k in kinds]
    agree(lambda lib, *t: getattr(lib.nn.functional, function)(*t, **option_sets[0]), *arrays, frozen=frozen)
    agree(lambda lib, *t: getattr(lib.nn, module)(**option_sets[0])(*t), *arrays, frozen=frozen)

@pytest.mark.parametrize("function, module, kinds, option_sets", LOSSES, ids=[f"{l[0]}-{i}" for i, l in enumerate(LOSSES)])
def test_loss_twice_differentiable(function, module, kinds, option_sets):
    "The gradient of |gradient|^2, as a gradient penalty wants it."
    if function in ("l1_loss", "margin_ranking_loss", "hinge_embedding_loss"): pytest.skip("linear in pieces")
    arrays = [k(rng_of(3), (4,)) for k in kinds]
    def penalty(lib, x, *rest):
        loss = getattr(lib.nn.functional, function)(x, *rest, reduction="sum", **option_sets[0])
        g, = lib.autograd.grad(loss, x, create_graph=True)
        return (g ** 2).sum() if g.requires_grad else (x * 0).sum()
    agree(penalty, *arrays, frozen=tuple(range(1, len(arrays))))

@quick
@given(shape=st.sampled_from([(3,), (2, 3), (4, 2, 3)]), reduction=st.sampled_from(["none", "mean", "sum"]), weighted=st.booleans(), broadcast=st.booleans(), positive=st.booleans(), seed=st.integers(0, 99))
def test_bce_weights(shape, reduction, weighted, broadcast, positive, seed):
    rng = rng_of(seed)
    w = positives(rng, shape[-1:] if broadcast else shape)
    pw = positives(rng, shape[-1:])
    p, z, y = probabilities(rng, shape), reals(rng, shape) * 10, probabilities(rng, shape)
    F = lambda lib: lib.nn.functional
    agree(lambda lib, p, y, w: F(lib).binary_cross_entropy(p, y, weight=w if weighted else None, reduction=reduction), p, y, w, frozen=(1, 2))
    agree(lambda lib, p, y, w: lib.nn.BCELoss(w if weighted else None, reduction=reduction)(p, y), p, y, w, frozen=(1, 2))
    options = lambda w, pw: dict(weight=w if weighted else None, pos_weight=pw if positive else None, reduction=reduction)
    agree(lambda lib, z, y, w, pw: F(lib).binary_cross_entropy_with_logits(z, y, **options(w, pw)), z, y, w, pw, frozen=(1, 2, 3))
    agree(lambda lib, z, y, w, pw: lib.nn.BCEWithLogitsLoss(**options(w, pw))(z, y), z, y, w, pw, frozen=(1, 2, 3))

@pytest.mark.parametrize("function", ["l1_loss", "huber_loss"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_weighted_regression(function, reduction):
    rng = rng_of(0)
    agree(lambda lib, x, y, w: getattr(lib.nn.functional, function)(x, y, weight=w, reduction=reduction), reals(rng, (3, 2)), reals(rng, (3, 2)), positives(rng, (3, 2)), frozen=(2,))

@quick
@given(n=st.sampled_from([0, 1, 4]), c=st.integers(1, 5), extra=st.sampled_from([(), (2,), (2, 3)]), reduction=st.sampled_from(["none", "mean", "sum"]),
       weighted=st.booleans(), ignore=st.sampled_from([-100, 0, 2]), smoothing=st.sampled_from([0.0, 0.1, 1.0]), seed=st.integers(0, 99))
def test_class_losses(n, c, extra, reduction, weighted, ignore, smoothing, seed):
    rng = rng_of(seed)
    z, t, w = reals(rng, (n, c) + extra), rng.integers(0, c, size=(n,) + extra), positives(rng, c)
    if n: t.reshape(-1)[0] = ignore if ignore == -100 else t.reshape(-1)[0]          # one that is ignored
    options = lambda w: dict(weight=w if weighted else None, ignore_index=ignore, reduction=reduction)
    F = lambda lib: lib.nn.functional
    agree(lambda lib, z, t, w: F(lib).nll_loss(z, t, **options(w)), z, t, w, frozen=(2,))
    agree(lambda lib, z, t, w: lib.nn.NLLLoss(**options(w))(z, t), z, t, w, frozen=(2,))
    agree(lambda lib, z, t, w: F(lib).cross_entropy(z, t, label_smoothing=smoothing, **options(w)), z, t, w, frozen=(2,))
    agree(lambda lib, z, t, w: lib.nn.CrossEntropyLoss(label_smoothing=smoothing, **options(w))(z, t), z, t, w, frozen=(2,))

@quick
@given(n=st.sampled_from([0, 1, 4]), c=st.integers(1, 5), extra=st.sampled_from([(), (2,)]), reduction=st.sampled_from(["none", "mean", "sum"]),
       weighted=st.booleans(), smoothing=st.sampled_from([0.0, 0.2]), seed=st.integers(0, 99))
def test_cross_entropy_of_probabilities(n, c, extra, reduction, weighted, smoothing, seed):
    rng = rng_of(seed)
    z, w = reals(rng, (n, c) + extra), positives(rng, c)
    p = positives(rng, (n, c) + extra); p /= p.sum(1, keepdims=True)
    agree(lambda lib, z, p, w: lib.nn.functional.cross_entropy(z, p, w if weighted else None, reduction=reduction, label_smoothing=smoothing), z, p, w, frozen=(2,))

def test_class_losses_without_batch():
    z, t = rng_of(0).normal(size=4), np.array(2)
    for name in ("nll_loss", "cross_entropy", "multi_margin_loss"):
        agree(lambda lib, z, t: getattr(lib.nn.functional, name)(z, t), z, t)

def test_ignored_samples_do_not_leak():
    "An infinity, or nothing but ignored samples: 0 and 0/0, where PyTorch has them."
    z = np.array([[0.0, 1.0, 2.0], [0.0, NAN, INF]])
    for t in ([1, -100], [-100, -100]):
        for reduction in ("none", "sum", "mean"):
            agree(lambda lib, z, t: lib.nn.functional.nll_loss(z, t, reduction=reduction), z, np.array(t))
    for reduction in ("none", "sum", "mean"):
        agree_values(lambda lib, z, t: lib.nn.functional.cross_entropy(z, t, reduction=reduction), np.zeros((2, 3)), np.array([-100, -100]))

@quick
@given(n=st.sampled_from([1, 4]), c=st.integers(1, 5), p=st.sampled_from([1, 2]), margin=st.sampled_from([1.0, 0.3]), weighted=st.booleans(), reduction=st.sampled_from(["none", "mean", "sum"]), seed=st.integers(0, 99))
def test_multi_margin(n, c, p, margin, weighted, reduction, seed):
    rng = rng_of(seed)
    options = lambda w: dict(p=p, margin=margin, weight=w if weighted else None, reduction=reduction)
    arrays = reals(rng, (n, c)), rng.integers(0, c, size=n), positives(rng, c)
    agree(lambda lib, z, t, w: lib.nn.functional.multi_margin_loss(z, t, **options(w)), *arrays, frozen=(2,))
    agree(lambda lib, z, t, w: lib.nn.MultiMarginLoss(**options(w))(z, t), *arrays, frozen=(2,))

@quick
@given(n=st.sampled_from([(), (1,), (4,), (0,)]), margin=st.sampled_from([0.0, 0.3, -0.5]), reduction=st.sampled_from(["none", "mean", "sum"]), seed=st.integers(0, 99))
def test_cosine_embedding(n, margin, reduction, seed):
    rng = rng_of(seed)
    arrays = reals(rng, n + (3,)), reals(rng, n + (3,)), signs(rng, n)
    agree(lambda lib, *t: lib.nn.functional.cosine_embedding_loss(*t, margin=margin, reduction=reduction), *arrays, frozen=(2,))
    agree(lambda lib, *t: lib.nn.CosineEmbeddingLoss(margin=margin, reduction=reduction)(*t), *arrays, frozen=(2,))

@quick
@given(n=st.sampled_from([(), (1,), (4,), (0,)]), p=st.sampled_from([1.0, 2.0, 3.0]), swap=st.booleans(), margin=st.sampled_from([1.0, 3.0]), reduction=st.sampled_from(["none", "mean", "sum"]), seed=st.integers(0, 99))
def test_triplet(n, p, swap, margin, reduction, seed):
    rng = rng_of(seed)
    arrays = [reals(rng, n + (3,)) for _ in range(3)]
    options = dict(p=p, swap=swap, margin=margin, reduction=reduction)
    agree(lambda lib, *t: lib.nn.functional.triplet_margin_loss(*t, **options), *arrays)
    agree(lambda lib, *t: lib.nn.TripletMarginLoss(**options)(*t), *arrays)

@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_gaussian_nll_with_one_variance_a_row(shape):
    rng = rng_of(0)
    agree(lambda lib, *t: lib.nn.functional.gaussian_nll_loss(*t), reals(rng, (4, 3)), reals(rng, (4, 3)), positives(rng, shape))

def test_kl_div_batchmean():
    rng = rng_of(0)
    agree(lambda lib, x, p: lib.nn.functional.kl_div(x, p, reduction="batchmean"), reals(rng, (4, 3)), positives(rng, (4, 3)))
    agree(lambda lib, x, p: lib.nn.KLDivLoss(reduction="batchmean", log_target=True)(x, p), reals(rng, (4, 3)), reals(rng, (4, 3)))

SPECIAL = [  # loss, tensors at the edges; gradients too
    ("mse_loss", [[0.0, INF, -INF, NAN], [0.0, 0.0, 0.0, 0.0]]),
    ("smooth_l1_loss", [[0.0, 1.0, -1.0, INF, -INF, NAN], [0.0] * 6]),
    ("huber_loss", [[0.0, 1.0, -1.0, INF, -INF, NAN], [0.0] * 6]),
    ("l1_loss", [[0.0, 1.0, -1.0, INF, -INF], [0.0] * 5]),
    ("binary_cross_entropy", [[0.0, 0.0, 1.0, 1.0, 0.5], [0.0, 1.0, 0.0, 1.0, 0.5]]),
    ("binary_cross_entropy_with_logits", [[0.0, 800.0, -800.0, 1e-300], [0.5, 0.0, 1.0, 1.0]]),
    ("kl_div", [[0.0, -1.0, -700.0], [1.0, 0.5, 0.0]]),
    ("hinge_embedding_loss", [[1.0, 1.0, 0.5, 0.0], [1.0, -1.0, -1.0, -1.0]]),
    ("margin_ranking_loss", [[1.0, 1.0, 0.0], [1.0, 2.0, 0.0], [1.0, -1.0, -1.0]]),
    ("soft_margin_loss", [[0.0, 30.0, -30.0, INF], [1.0, -1.0, 1.0, 1.0]]),
    ("poisson_nll_loss", [[0.0, -INF, 700.0], [0.0, 0.0, 1.0]]),
]

@pytest.mark.parametrize("function, tensors", SPECIAL, ids=[s[0] for s in SPECIAL])
def test_loss_at_special_values(function, tensors):
    agree(lambda lib, *t: getattr(lib.nn.functional, function)(*t, reduction="none"), *map(np.array, tensors), frozen=tuple(range(1, len(tensors))),
          rtol=1e-8 if function == "binary_cross_entropy" else 1e-10)         # PyTorch's 1e-12 is rounded to float32

def test_bce_with_logits_at_infinity():
    agree_values(lambda lib, *t: lib.nn.functional.binary_cross_entropy_with_logits(*t, reduction="none"), np.array([INF, -INF, NAN]), np.array([1.0, 0.5, 0.0]))

def test_soft_margin_stays_finite():
    "Here we are better than PyTorch, which says inf."
    assert dlfs.nn.functional.soft_margin_loss(dlfs.tensor([-2000.0]), dlfs.tensor([1.0])).item() == 2000.0

def test_losses_keep_float32():
    x, y = dlfs.rand(3), dlfs.rand(3)
    for function, module, kinds, _ in LOSSES:
        if len(kinds) > 2 or signs in kinds: continue
        assert getattr(dlfs.nn.functional, function)(x, y).dtype == dlfs.float32, function

def test_old_reductions():
    "size_average and reduce, by position."
    for args in [(False,), (True,), (None, False), (False, False), (None, True)]:
        agree(lambda lib, x, y: lib.nn.functional.l1_loss(x, y, *args), rng_of(0).normal(size=(2, 3)), rng_of(1).normal(size=(2, 3)))

@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "cross_entropy", "nll_loss", "kl_div"])
def test_unknown_reduction(name):
    x = dlfs.rand(3, 2)
    t = dlfs.tensor([0, 1, 0]) if name in ("cross_entropy", "nll_loss") else dlfs.rand(3, 2)
    with pytest.raises(ValueError): getattr(dlfs.nn.functional, name)(x, t, reduction="average")


# ---------------------------------------------------------------- signatures

FUNCTIONS = sorted({l[0] for l in LOSSES} | {"nll_loss", "cross_entropy", "cosine_embedding_loss", "triplet_margin_loss", "multi_margin_loss",
                    "normalize", "dropout", "softmin", "leaky_relu", "elu", "hardtanh"})
CLASSES = sorted({l[1] for l in LOSSES} | {a[0] for a in ACTIVATIONS} | {"Linear", "Bilinear", "Dropout", "Flatten", "Unflatten", "PReLU", "NLLLoss", "CrossEntropyLoss",
                  "CosineEmbeddingLoss", "TripletMarginLoss", "MultiMarginLoss", "CosineSimilarity", "PairwiseDistance"})
MAY_LACK = {"_stacklevel", "out", "inplace", "dtype", "self", "min_value", "max_value"}

def parameters_of(fn): return {n: p for n, p in inspect.signature(fn).parameters.items()}

@pytest.mark.parametrize("where, name", [("functional", n) for n in FUNCTIONS] + [("", n) for n in CLASSES])
def test_signature(where, name):
    ours, theirs = (parameters_of(getattr(lib.nn.functional if where else lib.nn, name)) for lib in LIBS)
    for n, p in theirs.items():
        if n in MAY_LACK or name == "mse_loss" and n == "weight": continue
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD): continue
        assert n in ours, f"{name} lacks PyTorch's argument {n}"
        assert ours[n].default == p.default, f"{name}({n}={ours[n].default}), PyTorch's {p.default}"
    common = [n for n in ours if n in theirs]
    if not any(p.kind == p.KEYWORD_ONLY for p in theirs.values()):
        assert common == [n for n in theirs if n in ours], f"{name}: order of arguments"

CALLS = {"relu inplace": lambda F, x: F.relu(x, inplace=False), "relu input": lambda F, x: F.relu(input=x), "softmax input": lambda F, x: F.softmax(input=x, dim=1),
         "log_softmax input": lambda F, x: F.log_softmax(input=x, dim=-1), "softmax dtype": lambda F, x: F.softmax(x, 1, dtype=None), "silu inplace": lambda F, x: F.silu(x, inplace=False),
         "tanh": lambda F, x: F.tanh(x), "sigmoid": lambda F, x: F.sigmoid(x), "gelu": lambda F, x: F.gelu(input=x, approximate="none")}
@pytest.mark.parametrize("call", CALLS)
def test_call(call): agree(lambda lib, x: CALLS[call](lib.nn.functional, x), rng_of(0).normal(size=(2, 3)))


# ---------------------------------------------------------------- modules and containers

def net(lib):
    "Nested, with a buffer, a buffer that is not saved, a shared layer, and every container."
    nn = lib.nn
    class Block(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.scale = nn.Parameter(lib.ones(n))
            self.inner = nn.Sequential(nn.Linear(n, n), nn.Tanh(), nn.Linear(n, n, bias=False))
            self.register_buffer("count", lib.zeros(2))
            self.register_buffer("scratch", lib.ones(1), persistent=False)
            self.register_parameter("nothing", None)
        def forward(self, x): return x + self.scale * self.inner(x)
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 4)
            self.blocks = nn.ModuleList([Block(4), Block(4)])
            self.heads = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)})
            self.extra = nn.ParameterList([nn.Parameter(lib.ones(2)), nn.Parameter(lib.zeros(2))])
            self.shared = self.first
            self.out = nn.Parameter(lib.zeros(2))
        def forward(self, x):
            x = self.shared(x)
            for b in self.blocks: x = b(x)
            return self.heads["a"](x) * self.extra[0] + self.heads["b"](x).tanh() + self.extra[1] + self.out
    return Net()

def test_net_agrees(): modules_agree(net, rng_of(0).normal(size=(5, 3)))
def test_net_empty_batch(): modules_agree(net, rng_of(0).normal(size=(0, 3)))

NAMES = ["named_parameters", "named_buffers", "named_modules", "named_children"]
@pytest.mark.parametrize("method", NAMES)
def test_names_and_their_order(method):
    ours, theirs = ([n for n, _ in getattr(net(lib), method)()] for lib in LIBS)
    assert ours == theirs
    plain = method.replace("named_", "")
    assert len(list(getattr(net(dlfs), plain)())) == len(list(getattr(net(torch), plain)())) == len(theirs)

def test_state_dict_keys_and_shapes():
    ours, theirs = (net(lib).state_dict() for lib in LIBS)
    assert [(k, tuple(v.shape)) for k, v in ours.items()] == [(k, tuple(v.shape)) for k, v in theirs.items()]
    assert all(not v.requires_grad for v in ours.values())
    assert list(net(dlfs).blocks.state_dict(prefix="x.")) == list(net(torch).blocks.state_dict(prefix="x."))

def test_state_dict_shares_and_loading_copies():
    a, b = net(dlfs), net(dlfs)
    b.load_state_dict(a.state_dict())
    before = array(a.first.weight).copy()
    with dlfs.no_grad(): b.first.weight.add_(1.0)
    np.testing.assert_array_equal(array(a.first.weight), before)
    np.testing.assert_array_equal(array(b.state_dict()["first.weight"]), before + 1)

@pytest.mark.parametrize("strict", [True, False])
def test_load_state_dict_reports(strict):
    results = []
    for lib in LIBS:
        m = net(lib)
        state = dict(m.state_dict())
        state.pop("heads.a.bias"); state["stranger"] = lib.zeros(1)
        if strict:
            with pytest.raises(RuntimeError) as e: m.load_state_dict(state)
            assert "heads.a.bias" in str(e.value) and "stranger" in str(e.value)
        else:
            found = m.load_state_dict(state, strict=False)
            results.append((list(found.missing_keys), list(found.unexpected_keys)))
            missing, unexpected = found
            assert missing == ["heads.a.bias"]
    if not strict: assert results[0] == results[1] == (["heads.a.bias"], ["stranger"])

def test_train_eval_apply():
    seen = []
    for lib in LIBS:
        m = net(lib)
        assert m.training and m.eval() is m and not any(x.training for x in m.modules())
        m.train(); assert all(x.training for x in m.modules())
        m.blocks[0].eval()
        names = []
        assert m.apply(lambda x: names.append(type(x).__name__)) is m
        seen.append(([x.training for x in m.modules()], names))
    assert seen[0] == seen[1]

def test_requires_grad_zero_grad_and_dtypes():
    for lib in LIBS:
        m = net(lib)
        m(lib.ones(2, 3)).sum().backward()
        assert all(p.grad is not None for p in m.parameters())
        m.zero_grad(set_to_none=False); assert all((array(p.grad) == 0).all() for p in m.parameters())
        m.zero_grad(); assert all(p.grad is None for p in m.parameters())
        assert m.requires_grad_(False) is m and not any(p.requires_grad for p in m.parameters())
        assert m.double() is m and all(t.dtype == lib.float64 for t in m.state_dict().values())
        m.to(lib.float32); assert m.blocks[0].count.dtype == lib.float32 and m.first.weight.dtype == lib.float32
        m.to("cpu"); assert m.shared.weight is m.first.weight

def test_deepcopy_is_independent():
    for lib in LIBS:
        m = net(lib)
        c = copy.deepcopy(m)
        assert c.shared is c.first and c.first is not m.first and type(c.out) is lib.nn.Parameter
        assert list(c.state_dict()) == list(m.state_dict())
        before = array(m.first.weight).copy()
        with lib.no_grad(): c.first.weight.zero_()
        np.testing.assert_array_equal(array(m.first.weight), before)
        assert not array(c.first.weight).any()

def test_hooks():
    logs = []
    for lib in LIBS:
        m, log = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.ReLU()).double(), []
        with lib.no_grad():
            for p in m.parameters(): p.fill_(0.5)
        a = m[0].register_forward_pre_hook(lambda mod, args: (log.append(("pre", type(mod).__name__, len(args))), (args[0] * 2,))[1])
        b = m[0].register_forward_hook(lambda mod, args, out: (log.append(("post", tuple(args[0].shape), float(args[0].sum()))), out + 1)[1])
        x = lib.ones(1, 2, dtype=lib.float64)
        first = array(m(x)).tolist()
        b.remove(); second = array(m(x)).tolist()
        a.remove(); third = array(m(x)).tolist()
        logs.append((log, first, second, third))
    assert logs[0] == logs[1] and logs[0][1] == [[3.5] * 3] and logs[0][2] == [[2.5] * 3] and logs[0][3] == [[1.5] * 3]

def test_attributes():
    for lib in LIBS:
        m = net(lib)
        with pytest.raises(TypeError): m.first = 3                       # a module's place holds a module
        with pytest.raises(TypeError): m.out = lib.zeros(2)              # and a parameter's a Parameter
        with pytest.raises(AttributeError): m.nowhere
        del m.shared
        assert "shared.weight" not in m.state_dict() and "first.weight" in m.state_dict()
        m.out = lib.nn.Parameter(lib.ones(2)); assert any(p is m.out for p in m.parameters())
        m.blocks[0].count = lib.ones(2); assert array(m.state_dict()["blocks.0.count"]).tolist() == [1, 1]
        m.blocks[1].scale = None; assert "blocks.1.scale" not in m.state_dict()
        assert m.get_submodule("blocks.0.inner.2") is m.blocks[0].inner[2]

def test_forgotten_super_init():
    for lib in LIBS:
        class M(lib.nn.Module):
            def __init__(self): self.layer = lib.nn.Linear(1, 1)
        with pytest.raises(AttributeError, match="__init__"): M()

def test_sequential_and_lists():
    for lib in LIBS:
        nn = lib.nn
        s = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        assert len(s) == 3 and isinstance(s[-1], nn.Linear) and isinstance(s[1:], nn.Sequential) and len(s[1:]) == 2
        assert [type(x).__name__ for x in s] == ["Linear", "ReLU", "Linear"]
        s.append(nn.Tanh()); assert list(s.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"] and len(s) == 4
        s[1] = nn.Linear(3, 3); assert "1.weight" in s.state_dict()
        from collections import OrderedDict
        named = nn.Sequential(OrderedDict(a=nn.Linear(1, 2), b=nn.Linear(2, 1)))
        assert list(named.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"] and named.a is named[0]
        l = nn.ModuleList([nn.Linear(1, 1)]); l.append(nn.Linear(1, 2)); l.extend([nn.ReLU()]); l.insert(0, nn.Identity())
        assert [type(x).__name__ for x in l] == ["Identity", "Linear", "Linear", "ReLU"] and len(list(l.parameters())) == 4
        d = nn.ModuleDict({"x": nn.Linear(1, 1)}); d["y"] = nn.ReLU()
        assert list(d.keys()) == ["x", "y"] and "x" in d and len(d) == 2 and [k for k, _ in d.items()] == ["x", "y"] and list(d) == ["x", "y"]
        p = nn.ParameterList([nn.Parameter(lib.ones(1))]); p.append(nn.Parameter(lib.zeros(2)))
        assert len(p) == 2 and [tuple(q.shape) for q in p] == [(1,), (2,)] and list(p.state_dict()) == ["0", "1"]


def test_loss_weights_are_buffers():
    for name, options in [("BCELoss", dict(weight=3)), ("BCEWithLogitsLoss", dict(weight=3, pos_weight=3)), ("NLLLoss", dict(weight=3)),
                          ("CrossEntropyLoss", dict(weight=3)), ("MultiMarginLoss", dict(weight=3)), ("L1Loss", {})]:
        keys = [list(getattr(lib.nn, name)(**{k: lib.ones(n) for k, n in options.items()}).state_dict()) for lib in LIBS]
        assert keys[0] == keys[1] == list(options), name
    m = dlfs.nn.BCEWithLogitsLoss(pos_weight=dlfs.ones(2)).double()
    assert m.pos_weight.dtype == dlfs.float64


# ---------------------------------------------------------------- initialisation

INITS = [("uniform_", (), {}), ("uniform_", (-2.0, 0.5), {}), ("normal_", (), {}), ("normal_", (1.0, 0.2), {}), ("constant_", (0.3,), {}), ("ones_", (), {}), ("zeros_", (), {}),
         ("xavier_uniform_", (), {}), ("xavier_uniform_", (), dict(gain=2.0)), ("xavier_normal_", (), {}), ("xavier_normal_", (0.5,), {}),
         ("kaiming_uniform_", (), {}), ("kaiming_uniform_", (), dict(a=math.sqrt(5))), ("kaiming_uniform_", (), dict(mode="fan_out", nonlinearity="relu")),
         ("kaiming_normal_", (), {}), ("kaiming_normal_", (), dict(mode="fan_out", nonlinearity="tanh"))]
OPTIONAL_INITS = [("trunc_normal_", (), {}), ("trunc_normal_", (0.5, 2.0, -1.0, 1.5), {}), ("eye_", (), {})]
INITS += [i for i in OPTIONAL_INITS if hasattr(dlfs.nn.init, i[0])]

@pytest.mark.parametrize("name, args, options", INITS)
@pytest.mark.parametrize("shape", [(400, 250), (40, 50, 5, 10)])
def test_init_statistics(name, args, options, shape):
    if name == "eye_" and len(shape) > 2: pytest.skip("for matrices")
    draws = []
    for lib in LIBS:
        lib.manual_seed(1)
        t = lib.empty(*shape)
        result = getattr(lib.nn.init, name)(t, *args, **options)
        assert result is t and not t.requires_grad
        draws.append(array(t).astype("float64"))
    a, b = draws
    scale = b.std() or 1
    assert abs(a.mean() - b.mean()) < 0.02 * scale, "mean"
    assert abs(a.std() / scale - b.std() / scale) < 0.01, "standard deviation"
    if "normal" not in name or "trunc" in name:
        assert abs(a.max() - b.max()) < 0.002 * scale + 1e-7 and abs(a.min() - b.min()) < 0.002 * scale + 1e-7, "bounds"
    else: assert abs((np.abs(a - a.mean()) > 2 * a.std()).mean() - 0.0455) < 0.003, "tails"

@pytest.mark.parametrize("name, param", [("linear", None), ("sigmoid", None), ("tanh", None), ("relu", None), ("leaky_relu", None), ("leaky_relu", 0.3), ("selu", None)])
def test_calculate_gain(name, param): assert dlfs.nn.init.calculate_gain(name, param) == pytest.approx(torch.nn.init.calculate_gain(name, param), rel=1e-12)

@pytest.mark.skipif(not hasattr(dlfs.nn.init, "orthogonal_"), reason="no orthogonal_")
@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3)])
def test_orthogonal(shape):
    w = array(dlfs.nn.init.orthogonal_(dlfs.empty(*shape, dtype=dlfs.float64), gain=2.0))
    small = w @ w.T if shape[0] <= shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4 * np.eye(min(shape)), atol=1e-12)

@pytest.mark.parametrize("make", [lambda nn: nn.Linear(64, 500), lambda nn: nn.Bilinear(64, 5, 300)], ids=["Linear", "Bilinear"])
def test_default_initialisation(make):
    for lib in LIBS:
        lib.manual_seed(0)
        m = make(lib.nn)
        for p in m.parameters():
            w = array(p)
            assert 0.97 / 8 < np.abs(w).max() <= 1 / 8 and abs(w.mean()) < 0.02 and abs(w.std() - 1 / 8 / math.sqrt(3)) < 0.006


# ---------------------------------------------------------------- gradient utilities

def with_gradients(lib, seed=0, shapes=((3, 2), (4,), ())):
    rng, ps = rng_of(seed), []
    for s in shapes:
        p = lib.nn.Parameter(lib.from_numpy(np.asarray(rng.normal(size=s))))
        p.grad = lib.from_numpy(np.asarray(rng.normal(size=s) * 3))
        ps.append(p)
    ps.append(lib.nn.Parameter(lib.zeros(2, dtype=lib.float64)))               # one that got no gradient
    return ps

@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, INF, "inf"])
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clip_grad_norm(norm_type, max_norm):
    ours, theirs = with_gradients(dlfs), with_gradients(torch)
    a, b = (lib.nn.utils.clip_grad_norm_(ps, max_norm, norm_type) for lib, ps in zip(LIBS, (ours, theirs)))
    same(a, b)
    for p, q in zip(ours[:-1], theirs): same(p.grad, q.grad)
    assert ours[-1].grad is None

def test_clip_grad_norm_of_one_tensor_an_iterator_and_nothing():
    for arg in (lambda ps: ps[0], lambda ps: iter(ps), lambda ps: [], lambda ps: ps[-1:]):
        a, b = (lib.nn.utils.clip_grad_norm_(arg(with_gradients(lib)), 1.0) for lib in LIBS)
        assert float(a) == pytest.approx(float(b), rel=1e-10)

def test_clip_grad_norm_of_what_is_not_finite():
    for lib in LIBS:
        ps = with_gradients(lib); ps[1].grad[0] = NAN
        with pytest.raises(RuntimeError): lib.nn.utils.clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
        assert math.isnan(float(lib.nn.utils.clip_grad_norm_(ps, 1.0)))

def test_clip_grad_value():
    ours, theirs = with_gradients(dlfs), with_gradients(torch)
    for lib, ps in zip(LIBS, (ours, theirs)): lib.nn.utils.clip_grad_value_(ps, 1.25)
    for p, q in zip(ours[:-1], theirs): same(p.grad, q.grad)
    assert max(np.abs(array(p.grad)).max() for p in ours[:-1]) == 1.25

def test_parameters_as_one_vector():
    for lib in LIBS:
        ps = with_gradients(lib)
        v = lib.nn.utils.parameters_to_vector(ps)
        np.testing.assert_array_equal(array(v), np.concatenate([array(p).reshape(-1) for p in ps]))
        v.sum().backward() if v.requires_grad else None
        lib.nn.utils.vector_to_parameters(v.detach() * 2, ps)
        np.testing.assert_array_equal(array(lib.nn.utils.parameters_to_vector(ps)), 2 * array(v))
