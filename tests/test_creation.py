"Making, converting, printing, comparing, changing and saving tensors: beside PyTorch."
import builtins, copy, io, itertools, pickle

import numpy as np
import pytest

import dlfs.array as A
from dlfs.array import *
from dlfs.autodiff import *
from dlfs.ops import *
from dlfs.creation import *
from dlfs import creation as C

torch = pytest.importorskip("torch")
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


def td(name): return getattr(torch, name)
def same_dtype(d, t): return d.name == str(t).removeprefix("torch.")


# ---- promotion -------------------------------------------------------------------------------------------------

def pair(name, ndim):
    if name == "bfloat16": pytest.importorskip("ml_dtypes")
    t = torch.ones((3,) * ndim, dtype=td(name))
    return np.ones((3,) * ndim, as_dtype(name)), t


@pytest.mark.parametrize("a,b", [*itertools.product(DTYPES, DTYPES)])
def test_promotion_of_tensors(a, b):
    for na, nb in itertools.product((0, 1), (0, 1)):
        (x, tx), (y, ty) = pair(a, na), pair(b, nb)
        want = torch.result_type(tx, ty)
        assert same_dtype(result_type(x, y), want), (a, na, b, nb)
        out = np.add(*promote_operands(x, y))
        assert same_dtype(out.dtype, want) and out.shape == (tx + ty).shape
        assert same_dtype((Tensor(x) + Tensor(y)).dtype, (tx + ty).dtype)


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("s", [True, 2, 2.5])
def test_promotion_with_python_numbers(a, s):
    for n in (0, 1):
        x, tx = pair(a, n)
        want = torch.result_type(tx, s)
        assert same_dtype(result_type(x, s), want) and same_dtype(result_type(s, x), want)
        assert same_dtype(np.add(*promote_operands(x, s)).dtype, want)
        assert same_dtype((Tensor(x) + s).dtype, want) and same_dtype((s + Tensor(x)).dtype, want)
        assert same_dtype((Tensor(x) * s).dtype, want)


def test_promotion_of_more_than_two_and_default_dtype():
    assert result_type(np.ones(2, "i4"), np.array(1, "f8"), 2.5) == float64
    try:
        set_default_dtype(float64)
        assert result_type(np.ones(2, "i4"), 2.5) == float64 and tensor([1.5]).dtype == float64 and zeros(2).dtype == float64
        with pytest.raises(TypeError, match="floating"): set_default_dtype(int64)
    finally: set_default_dtype(float32)
    with pytest.raises(TypeError, match="no integer dtype"): promote(uint64, int64)
    with pytest.raises(TypeError, match="list is no operand"): result_type([1], 2)


def test_finfo_iinfo():
    for d in ("float16", "bfloat16", "float32", "float64"):
        if d == "bfloat16": pytest.importorskip("ml_dtypes")
        ours, theirs = finfo(d), torch.finfo(td(d))
        for k in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution"):
            assert getattr(ours, k) == pytest.approx(getattr(theirs, k), rel=1e-3), (d, k)
            assert type(getattr(ours, k)) in (int, float)
    for d in ("uint8", "int8", "int16", "int32", "int64"):
        ours, theirs = iinfo(d), torch.iinfo(td(d))
        assert (ours.bits, ours.min, ours.max) == (theirs.bits, theirs.min, theirs.max)
    with pytest.raises(TypeError): finfo(int64)
    with pytest.raises(TypeError): iinfo(float32)


@pytest.mark.parametrize("bad", ["complex64", "U3", object, "float23", "datetime64[s]", np.longdouble])
def test_dtypes_that_tensors_do_not_have(bad):
    with pytest.raises(TypeError, match="dtype"): as_dtype(bad)


# ---- devices ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("args", [("cpu",), ("cuda",), ("cuda:1",), ("cuda", 1), ("cpu", 0)])
def test_device_like_torch(args):
    ours, theirs = device(*args), torch.device(*args)
    assert (ours.type, ours.index, str(ours), repr(ours)) == (theirs.type, theirs.index, str(theirs), repr(theirs))
    assert ours == device(*args) and hash(ours) == hash(device(*args)) and ours != str(ours)
    assert pickle.loads(pickle.dumps(ours)) == copy.copy(ours) == ours and device(ours) == ours


@pytest.mark.parametrize("bad", ["tpu", "cuda:", "cuda:x", "cuda:-1", ""])
def test_bad_device(bad):
    with pytest.raises(RuntimeError, match="device"): device(bad)
    with pytest.raises(RuntimeError): device("cuda:1", 1)


def test_no_cupy(monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match="device cuda: CuPy is not installed; pip install"): to_device(np.ones(2), "cuda")
    with pytest.raises(RuntimeError, match="CuPy is not installed"): tensor([1.]).cuda()
    with pytest.raises(RuntimeError, match="CuPy is not installed"): zeros(2, device="cuda")


# ---- factories -------------------------------------------------------------------------------------------------

FACTORIES = [
    lambda t: t.tensor([1, 2]), lambda t: t.tensor([1, 2.]), lambda t: t.tensor([True]), lambda t: t.tensor([]), lambda t: t.tensor([[], []]),
    lambda t: t.tensor(3), lambda t: t.tensor(3.), lambda t: t.tensor(np.float64(3)), lambda t: t.tensor(np.ones((2, 1), "i2")),
    lambda t: t.tensor([np.float32(1), np.float32(2)]), lambda t: t.tensor([True, 2]), lambda t: t.tensor((1, 2)), lambda t: t.tensor(range(3)),
    lambda t: t.tensor([t.tensor(1.), t.tensor(2.)]), lambda t: t.tensor([1.7, -1.7], dtype=t.int64), lambda t: t.tensor([[1, 2], [3, 4]], dtype=t.float64),
    lambda t: t.tensor(np.ones(2), dtype=t.float32), lambda t: t.as_tensor([1, 2]), lambda t: t.as_tensor(np.arange(3)),
    lambda t: t.asarray([1., 2]), lambda t: t.from_numpy(np.arange(6.).reshape(2, 3).T),
    lambda t: t.zeros(2, 3), lambda t: t.zeros((2, 3)), lambda t: t.zeros([2, 3]), lambda t: t.zeros(()), lambda t: t.zeros(0, 2), lambda t: t.zeros(size=(2,)),
    lambda t: t.ones(2, dtype=t.int32), lambda t: t.full((2, 2), 7), lambda t: t.full((2,), 7.), lambda t: t.full((2,), True), lambda t: t.full((), 1, dtype=t.float64),
    lambda t: t.zeros_like(t.ones(2, 3, dtype=t.int8)), lambda t: t.ones_like(t.ones(2), dtype=t.float64), lambda t: t.full_like(t.ones(2), 3),
    lambda t: t.eye(3), lambda t: t.eye(2, 3, dtype=t.int64), lambda t: t.eye(0),
    lambda t: t.arange(5), lambda t: t.arange(2, 9, 3), lambda t: t.arange(0, 1, .1), lambda t: t.arange(5.), lambda t: t.arange(5, 0, -2), lambda t: t.arange(3, 3),
    lambda t: t.arange(1, 2.5, .5, dtype=t.float64), lambda t: t.arange(0, 3, dtype=t.float32), lambda t: t.arange(t.tensor(4)), lambda t: t.arange(end=3),
    lambda t: t.linspace(0, 1, 5), lambda t: t.linspace(3, -3, 4, dtype=t.float64), lambda t: t.linspace(0, 1, 1), lambda t: t.linspace(0, 1, 0), lambda t: t.linspace(0, 10, 4, dtype=t.int64),
    lambda t: t.logspace(-1, 2, 4), lambda t: t.logspace(0, 3, 4, base=2, dtype=t.float64),
    lambda t: t.ones(2, dtype=t.float64).new_zeros(3), lambda t: t.ones(2, dtype=t.float64).new_full((2,), 3), lambda t: t.ones(2, dtype=t.float64).new_tensor([1, 2]),
    lambda t: t.ones(2).new_ones((2, 2), dtype=t.int64),
]


@pytest.mark.parametrize("i", range(len(FACTORIES)))
def test_factories(i):
    ours, theirs = FACTORIES[i](Lib), FACTORIES[i](torch)
    assert same_dtype(ours.dtype, theirs.dtype) and tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy().astype("f8"), theirs.numpy().astype("f8"), rtol=2e-7, atol=1e-7)
    assert not ours.requires_grad and ours.is_leaf


class _Lib:
    "The modules beneath `dlfs`, as one namespace: what `import dlfs as torch` would see."
    float, int, bool = float32, int32, bool_
    def __getattr__(self, name):
        for m in (C, ops_module, autodiff_module, A):
            if hasattr(m, name): return getattr(m, name)
        raise AttributeError(name)


import dlfs.autodiff as autodiff_module, dlfs.ops as ops_module
Lib = _Lib()


def test_copies_and_shared_memory():
    a = np.zeros(3, "f4")
    assert np.shares_memory(from_numpy(a).numpy(), a) and np.shares_memory(as_tensor(a).numpy(), a) and np.shares_memory(asarray(a).numpy(), a)
    assert not np.shares_memory(tensor(a).numpy(), a) and not np.shares_memory(as_tensor(a, dtype=float64).numpy(), a)
    t = tensor(a)
    assert not np.shares_memory(tensor(t).numpy(), t.numpy()) and as_tensor(t) is t and not np.shares_memory(asarray(t, copy=True).numpy(), t.numpy())
    with pytest.raises(ValueError, match="without a copy"): asarray([1, 2], copy=False)
    x = tensor([1.], requires_grad=True)
    assert as_tensor(x * 2).requires_grad and not tensor(x * 2).requires_grad


@pytest.mark.parametrize("make,error,words", [
    (lambda: tensor([[1, 2], [3, 4, 5]]), ShapeError, r"unequal length: data\[0\] has length 2, data\[1\] has length 3"),
    (lambda: tensor("no"), TypeError, "'str'"), (lambda: tensor([1, None]), TypeError, "NoneType"), (lambda: tensor([object()]), TypeError, "object"),
    (lambda: tensor([300], dtype=int8), RuntimeError, "does not fit in int8"), (lambda: tensor(2**70), RuntimeError, "does not fit in int64"),
    (lambda: tensor([1j]), TypeError, "complex"), (lambda: tensor(np.ones(2, "c8")), TypeError, "complex64"),
    (lambda: tensor([1], requires_grad=True), RuntimeError, "int64"), (lambda: zeros(-1), ShapeError, "negative"), (lambda: zeros(1.5), TypeError, "whole numbers"),
    (lambda: zeros(2, colour="red"), TypeError, "colour"), (lambda: from_numpy([1]), TypeError, "numpy.ndarray, got list"), (lambda: arange(0, 1, 0), RuntimeError, "must not be 0"),
    (lambda: arange(1, 0), RuntimeError, "never reaches"), (lambda: linspace(0, 1, -1), RuntimeError, "negative"), (lambda: randint(3, 3, (2,)), RuntimeError, "no whole number"),
    (lambda: bernoulli(tensor([1.5])), RuntimeError, r"outside \[0, 1\]"), (lambda: multinomial(tensor([0., 0.]), 1), RuntimeError, "zero"),
    (lambda: multinomial(tensor([1., -1.]), 1), RuntimeError, "negative"), (lambda: multinomial(tensor([1., 0.]), 2), RuntimeError, "without replacement"),
    (lambda: normal(0., -1., (2,)), RuntimeError, "std"), (lambda: manual_seed(2**64), RuntimeError, "64 bits"),
])
def test_bad_factories(make, error, words):
    with pytest.raises(error, match=words): make()


# ---- random ----------------------------------------------------------------------------------------------------

DRAWS = [lambda g: rand(4, 3, generator=g), lambda g: randn(4, 3, generator=g), lambda g: randint(0, 100, (12,), generator=g), lambda g: randperm(12, generator=g),
         lambda g: bernoulli(full((12,), .5), generator=g), lambda g: multinomial(ones(12), 6, generator=g), lambda g: multinomial(ones(12), 6, True, generator=g),
         lambda g: normal(1., 2., (12,), generator=g), lambda g: rand_like(zeros(12), generator=g), lambda g: randn_like(zeros(12), generator=g), lambda g: randint_like(zeros(12), 99, generator=g)]


@pytest.mark.parametrize("draw", DRAWS)
def test_random_is_reproducible(draw):
    g = Generator().manual_seed(3)
    a, b = draw(g), draw(g)
    assert not equal(a, b) and equal(a, draw(Generator().manual_seed(3))) and not equal(a, draw(Generator().manual_seed(4)))
    s = g.get_state()
    c = draw(g)
    assert isinstance(s, Tensor) and s.dtype == uint8 and equal(c, draw(g.set_state(s)))
    assert equal(draw(g.clone_state()), draw(g))
    manual_seed(3)
    assert equal(a, draw(None)) and initial_seed() == 3
    s = get_rng_state()
    d = draw(None); set_rng_state(s)
    assert equal(d, draw(None))


def test_generator():
    g = Generator()
    assert g.manual_seed(5) is g and g.initial_seed() == 5 and g.device == device("cpu") and Generator().seed() != Generator().seed()
    h = g.clone_state()
    assert equal(rand(3, generator=g), rand(3, generator=h)) and h is not g
    for bad in (zeros(56, dtype=uint8), zeros(3), tensor([1.])):
        before = g.get_state()
        with pytest.raises(ValueError, match="not the state"): g.set_state(bad)
        assert equal(before, g.get_state())
    assert manual_seed(-1).initial_seed() == torch.Generator().manual_seed(-1).initial_seed()


def test_distributions():
    n = 200_000
    g = Generator().manual_seed(0)
    for d in ("float16", "float32", "float64"):
        u, z = rand(n, generator=g, dtype=d).numpy().astype("f8"), randn(n, generator=g, dtype=d).numpy().astype("f8")
        assert 0 <= u.min() and u.max() < 1 and abs(u.mean() - .5) < 5 * (1 / 12 / n) ** .5 and abs(u.var() - 1 / 12) < 1e-3
        assert abs(z.mean()) < 5 / n**.5 and abs(z.std() - 1) < .01 and abs((z**4).mean() - 3) < .1
    counts = np.bincount(randint(2, 7, (n,), generator=g).numpy(), minlength=8)
    assert counts[:2].sum() == counts[7] == 0 and (abs(counts[2:7] - n / 5) < 5 * (n * .16) ** .5).all()
    assert sorted(randperm(50, generator=g).tolist()) == list(range(50))
    p = tensor([0., .25, 1.])
    assert np.allclose(bernoulli(p.expand(n, 3), generator=g).numpy().mean(0), [0, .25, 1], atol=.006)
    w = tensor([[1., 0, 3], [2, 2, 0]])
    for replacement in (True, False):
        first = np.stack([multinomial(w, 2, replacement, generator=g).numpy()[:, 0] for _ in range(4000)])
        assert np.allclose([np.mean(first[:, 0] == 2), np.mean(first[:, 1] == 0)], [.75, .5], atol=.04) and not (first[:, 0] == 1).any() and not (first[:, 1] == 2).any()
    x = normal(tensor([0., 100.]), tensor([1., 5.]), generator=g)
    assert x.shape == (2,) and normal(tensor([[0.], [1.]]), 2., generator=g).shape == (2, 1) and randint(5, (3,)).shape == (3,)


# ---- comparing, counting ---------------------------------------------------------------------------------------

VALUES = [np.array([[1., np.nan, np.inf], [-np.inf, -0., 2.5]]), np.array([[1, 2, 3], [3, 2, 0]]), np.array([[True, False, True], [False, False, True]]), np.zeros((0, 3)), np.array(2.)]


def ours_and_theirs(a): return tensor(a), torch.tensor(a)
def agree(ours, theirs):
    if isinstance(ours, tuple) or isinstance(theirs, tuple): return [agree(a, b) for a, b in zip(ours, theirs, strict=True)]
    if isinstance(theirs, torch.Tensor):
        assert same_dtype(ours.dtype, theirs.dtype), (ours, theirs)
        assert ours.shape == tuple(theirs.shape), (ours, theirs)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    else: assert ours == theirs


@pytest.mark.parametrize("a,b", [*itertools.product(range(5), range(5))])
@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor"])
def test_comparisons(name, a, b):
    (x, tx), (y, ty) = ours_and_theirs(VALUES[a]), ours_and_theirs(VALUES[b])
    try: want = getattr(torch, name)(tx, ty)
    except RuntimeError:
        with pytest.raises(ShapeError, match=name): getattr(C, name)(x, y)
        return
    agree(getattr(C, name)(x, y), want)
    agree(getattr(x, name)(y), want)
    if not name.startswith("logical"):
        sign = f"__{name}__"
        agree(getattr(x, sign)(y), want); agree(getattr(x, sign)(2), getattr(tx, sign)(2)); agree(getattr(x, sign)(y.numpy()), want)


@pytest.mark.parametrize("a", range(5))
def test_questions(a):
    x, tx = ours_and_theirs(VALUES[a])
    for name in ("isnan", "isinf", "isfinite", "logical_not", "any", "all", "count_nonzero", "nonzero", "unique"):
        agree(getattr(C, name)(x), getattr(torch, name)(tx)) if name != "unique" or a else None
        if name not in ("count_nonzero",): agree(getattr(x, name)(), getattr(tx, name)()) if name != "unique" or a else None
    agree(nonzero(x, as_tuple=True), torch.nonzero(tx, as_tuple=True))
    for dim in range(-x.ndim, x.ndim):
        for name in ("any", "all"): agree(getattr(x, name)(dim=dim), getattr(tx, name)(dim=dim)); agree(getattr(x, name)(dim, keepdim=True), getattr(tx, name)(dim, keepdim=True))
        agree(count_nonzero(x, dim), torch.count_nonzero(tx, dim))
        for name in ("argmax", "argmin"):
            if a in (0, 1): agree(getattr(x, name)(dim=dim, keepdim=True), getattr(tx, name)(dim=dim, keepdim=True)); agree(getattr(x, name)(axis=dim), getattr(tx, name)(dim))
    if a in (0, 1, 4):
        for name in ("argmax", "argmin"): agree(getattr(C, name)(x), getattr(torch, name)(tx)); agree(getattr(C, name)(x, keepdim=True), getattr(torch, name)(tx, keepdim=True))
    with pytest.raises(IndexError, match="argmax"): argmax(x, 5)


def test_counting():
    x, tx = ours_and_theirs(np.array([[3, 1, 3], [0, 1, 3]]))
    agree(unique(x, return_inverse=True, return_counts=True), torch.unique(tx, return_inverse=True, return_counts=True))
    agree(unique(x, dim=1), torch.unique(tx, dim=1))
    agree(bincount(x.flatten(), minlength=6), torch.bincount(tx.flatten(), minlength=6))
    w, tw = ours_and_theirs(np.arange(6.))
    agree(bincount(x.flatten(), w), torch.bincount(tx.flatten(), tw))
    s, ts = ours_and_theirs(np.array([[1., 2, 2, 3], [0., 1, 5, 9]]))
    v, tv = ours_and_theirs(np.array([[2., 0], [4, 10]]))
    for kw in ({}, dict(right=True), dict(side="right")): agree(searchsorted(s, v, **kw), torch.searchsorted(ts, tv, **kw))
    agree(searchsorted(s[0], v), torch.searchsorted(ts[0].contiguous(), tv))
    with pytest.raises(RuntimeError, match="bincount"): bincount(w)
    with pytest.raises(IndexError, match="no entries"): argmax(zeros(0))


def test_bits():
    x, tx = ours_and_theirs(np.array([6, 3, -1])); y, ty = ours_and_theirs(np.array([True, False, True]))
    for f in (lambda a, b: a & 3, lambda a, b: 3 | a, lambda a, b: a ^ a, lambda a, b: ~a, lambda a, b: ~b, lambda a, b: b & b, lambda a, b: b ^ True, lambda a, b: a & b):
        agree(f(x, y), f(tx, ty))
    with pytest.raises(TypeError, match="booleans and integers"): tensor([1.]) & 1
    with pytest.raises(TypeError): x & "a"


def test_close_and_equal():
    cases = [([1., 2], [1., 2]), ([1., 2], [1 + 1e-6, 2]), ([np.nan], [np.nan]), ([np.inf], [np.inf]), ([np.inf], [-np.inf]), ([0.], [1e-9]), ([100.], [100.0005]), ([1.], [np.inf])]
    for a, b in cases:
        (x, tx), (y, ty) = ours_and_theirs(np.array(a)), ours_and_theirs(np.array(b))
        for nan in (False, True):
            agree(isclose(x, y, equal_nan=nan), torch.isclose(tx, ty, equal_nan=nan))
            assert allclose(x, y, equal_nan=nan) is torch.allclose(tx, ty, equal_nan=nan)
        assert equal(x, y) is torch.equal(tx, ty) and x.allclose(y) == tx.allclose(ty)
    assert not equal(zeros(2), zeros(2, 1)) and allclose(tensor([1, 2]), tensor([1, 2]))
    with pytest.raises(RuntimeError, match="float32 and float64"): allclose(zeros(2), zeros(2, dtype=float64))


# ---- converting ------------------------------------------------------------------------------------------------

def test_python_protocols():
    t = tensor([[1., 2], [3, 4]])
    assert float(tensor(2.5)) == 2.5 and int(tensor(2.9)) == 2 and bool(tensor([0])) is False and [10, 20][tensor(1)] == 20 and f"{tensor(2.345):.1f}" == "2.3"
    assert len(t) == 2 and [r.tolist() for r in t] == t.tolist() == [[1, 2], [3, 4]] and 4 in t and 5 not in t and hash(t) == hash(t) and len({t, t}) == 1
    assert (t == None) is False and (t != "x") is True and tensor(3).item() == 3 and isinstance(tensor(3).item(), int)
    for bad, error in ((lambda: bool(t), RuntimeError), (lambda: t.item(), RuntimeError), (lambda: [1][t], TypeError), (lambda: [1, 2][tensor(0.)], TypeError),
                       (lambda: len(tensor(1)), TypeError), (lambda: iter(tensor(1)), TypeError), (lambda: f"{t:.2f}", TypeError), (lambda: t < "a", TypeError), (lambda: float(t), RuntimeError)):
        with pytest.raises(error): bad()
    x = tensor([1., 2], requires_grad=True)
    a, b = x
    (a * b).backward()
    assert x.grad.tolist() == [2, 1]


def test_numpy():
    t = tensor([1., 2])
    assert t.numpy() is not None and np.shares_memory(t.numpy(), np.asarray(t)) and np.array(t, dtype="f8").dtype == "f8" and not np.shares_memory(np.array(t), t.numpy())
    x = tensor([1., 2], requires_grad=True)
    for f in (lambda: x.numpy(), lambda: np.asarray(x), lambda: (x * 2).numpy()):
        with pytest.raises(RuntimeError, match=r"Use tensor.detach\(\).numpy\(\) instead"): f()
    assert x.detach().numpy().tolist() == x.numpy(force=True).tolist() == [1, 2]
    for out in (np.ones(2, "f4") * t, t * np.ones(2, "f4"), np.float32(3) * t, t * np.float64(3)):
        assert isinstance(out, Tensor) and out.dtype == float32
    assert isinstance(np.array([1., 2]) == t, Tensor) and (np.ones(2, "f4") + x).requires_grad


def test_casts():
    t, tt = ours_and_theirs(np.array([1.7, -2.2, 0., 3.]))
    for name in ("float", "double", "half", "short", "int", "long", "bool", "char"): agree(getattr(t, name)(), getattr(tt, name)())
    agree(t.to(float32), tt.to(torch.float32)); agree(t.to("cpu", int64), tt.to("cpu", torch.int64)); agree(t.to(dtype=int8), tt.to(dtype=torch.int8))
    agree(t.to(tensor([1])), tt.to(torch.tensor([1]))); agree(t.type_as(tensor([True])), tt.type_as(torch.tensor([True]))); agree(t.type(float16), tt.type(torch.float16))
    assert t.to(float64) is t and t.to("cpu") is t and t.cpu() is t and t.double() is t and t.to(float64, copy=True) is not t and t.type() == "dlfs.DoubleTensor"
    x = tensor([1., 2], requires_grad=True)
    (x.double() * tensor([3., 4], dtype=float64)).sum().backward()
    assert x.grad.dtype == float32 and x.grad.tolist() == [3, 4]
    with pytest.raises(TypeError, match="to: wanted"): t.to(3.5)


def test_dlpack():
    a = np.arange(6.).reshape(2, 3)
    for lender in (a, torch.from_numpy(a), a.T):
        t = from_dlpack(lender)
        assert np.shares_memory(t.numpy(), a) and t.tolist() == lender.tolist()
    t = tensor([[1., 2], [3, 4]])
    assert np.shares_memory(np.from_dlpack(t), t.numpy()) and torch.from_dlpack(t).data_ptr() == t.data_ptr() and from_dlpack(t).data_ptr() == t.data_ptr()
    for d in ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool"): agree(from_dlpack(torch.ones(3, dtype=td(d))), torch.ones(3, dtype=td(d)))
    with pytest.raises(BufferError, match="detach"): np.from_dlpack(tensor([1.], requires_grad=True))
    with pytest.raises(TypeError, match="list does not speak DLPack"): from_dlpack([1])
    with pytest.raises(TypeError, match="complex"): from_dlpack(np.ones(2, "c8"))


def test_layout():
    t, tt = ours_and_theirs(np.arange(24.).reshape(2, 3, 4))
    assert t.stride() == tt.stride() and t.stride(1) == tt.stride(1) and t.mT.stride() == tt.mT.stride() and t.mT.is_contiguous() is tt.mT.is_contiguous() is False
    assert t.contiguous() is t and t.mT.contiguous().is_contiguous() and equal(t.mT.contiguous(), t.mT) and t.element_size() == 8 and t.nbytes == tt.nbytes and t.numel() == numel(t) == 24
    assert is_tensor(t) and not is_tensor(t.numpy()) and is_floating_point(t) and not tensor([1]).is_floating_point()


def test_copies_and_pickle():
    w = tensor([1., 2], requires_grad=True)
    (w * w).sum().backward()
    a, b = copy.deepcopy([w, w])
    assert a is b and a.requires_grad and a.tolist() == [1, 2] and a.grad.tolist() == [2, 4] and not np.shares_memory(a.detach().numpy(), w.detach().numpy())
    p = pickle.loads(pickle.dumps(w))
    assert p.requires_grad and p.tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="deepcopy"): copy.deepcopy(w * 2)
    with pytest.raises(RuntimeError, match="pickle"): pickle.dumps(w * 2)


# ---- printing --------------------------------------------------------------------------------------------------

PRINTED = [np.array([1., 2]), np.array([1.5, -22.25]), np.array([1e-6, 1.]), np.array([1e9, 1.]), np.array([np.nan, 1, np.inf]), np.array([[1., 2], [3, 4]]), np.array(3.), np.array(2.5),
           np.arange(24.).reshape(2, 3, 4), np.arange(5), np.array([True, False]), np.arange(-3, 4, 3), np.arange(3000.), np.arange(2500.).reshape(50, 50), np.linspace(0, 1, 7), np.zeros(3),
           np.array([]), np.zeros((0, 3)), np.array([1e-5, 2e-5]), np.array([1000.5, .001]), np.linspace(0, 1, 40), np.array([np.inf, -np.inf]), np.array([1e10]), np.arange(1200).reshape(2, 600)]


@pytest.mark.parametrize("i", range(len(PRINTED)))
def test_repr_like_torch(i):
    a = PRINTED[i].astype("f4") if PRINTED[i].dtype == "f8" else PRINTED[i]
    assert repr(tensor(a)) == repr(torch.tensor(a)).replace("torch.Size(", "(").replace("size=[", "size=(")
    ours, theirs = repr(tensor(a.astype("f8"))), repr(torch.tensor(a.astype("f8")))
    assert ours.replace("dtype=", "dtype=torch.").split() == theirs.split()


def test_repr_notes():
    x = tensor([1., 2], requires_grad=True)
    assert repr(x) == "tensor([1., 2.], requires_grad=True)" and repr(x * 2) == "tensor([2., 4.], grad_fn=<MulBackward>)"
    assert repr(tensor([1], dtype=int8)) == "tensor([1], dtype=int8)"
    try:
        set_printoptions(precision=2, sci_mode=False)
        assert repr(tensor([1e-3, 1234.567])) == "tensor([   0.00, 1234.57])"
    finally: set_printoptions(profile="default", sci_mode=None)
    assert len(repr(zeros(10**6))) < 200


# ---- in place --------------------------------------------------------------------------------------------------

INPLACE = [
    ("zero_",), ("fill_", 3.), ("add_", 2.), ("sub_", 1.), ("mul_", 3.), ("div_", 2.), ("pow_", 2.), ("clamp_", 0.2, 1.), ("exp_",), ("sqrt_",), ("neg_",), ("relu_",), ("tanh_",), ("sigmoid_",),
    ("abs_",), ("round_",), ("floor_",), ("add_", "other"), ("mul_", "other"), ("copy_", "other"), ("sub_", "row"), ("div_", "other"), ("masked_fill_", "mask", 7.), ("lerp_", "other", .3),
    ("addcmul_", "other", "row"), ("addcdiv_", "other", "row"), ("scatter_", 1, "index", 5.), ("scatter_add_", 1, "index", "other"), ("index_fill_", 0, "rows", 9.),
]


def fill_in(lib, args):
    base = dict(other=np.linspace(.5, 2, 6).reshape(2, 3), row=np.array([1., 2, 4]), mask=np.array([[True, False, True], [False, False, True]]), index=np.array([[0, 2, 1], [1, 1, 1]]), rows=np.array([1]))
    return [lib.tensor(base[a]) if isinstance(a, str) else a for a in args]


@pytest.mark.parametrize("case", INPLACE, ids=lambda c: "-".join(map(str, c)))
def test_inplace(case):
    name, *args = case
    start = np.linspace(.1, 1.5, 6).reshape(2, 3)
    x, tx = tensor(start), torch.tensor(start)
    view, m = x[0], x.numpy()
    assert getattr(x, name)(*fill_in(Lib, args)) is x
    getattr(tx, name)(*fill_in(torch, args))
    np.testing.assert_allclose(x.numpy(), tx.numpy(), rtol=1e-14)
    assert x.numpy() is m or np.shares_memory(x.numpy(), m)
    np.testing.assert_allclose(view.numpy(), tx[0].numpy(), rtol=1e-14)


@pytest.mark.parametrize("case", [c for c in INPLACE], ids=lambda c: "-".join(map(str, c)))
def test_inplace_gradient(case):
    "Through a value that was changed in place, the gradient to what it was made from is PyTorch's."
    name, *args = case
    start, grads = np.linspace(.1, 1.5, 6).reshape(2, 3), []
    for lib in (Lib, torch):
        x = lib.tensor(start, requires_grad=True)
        y = x * 2
        getattr(y, name)(*fill_in(lib, args))
        loss = (y * lib.tensor(np.arange(1., 7).reshape(2, 3))).sum()
        if loss.requires_grad: loss.backward()
        grads.append(np.zeros((2, 3)) if x.grad is None else x.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=1e-12)


def test_inplace_operators_and_setitem():
    for f in ("x += 2", "x -= x2", "x *= 3", "x /= 4", "x **= 2", "x[0] = 5", "x[:, 1] = x2[:, 0]", "x[mask] = 0", "x[1, 2] += 7", "x[..., None][0] = 1", "x[[1, 0]] = x2"):
        out = []
        for lib in (Lib, torch):
            x = x0 = lib.tensor(np.linspace(.1, 1.5, 6).reshape(2, 3))
            ns = dict(x=x, x2=lib.tensor(np.arange(6.).reshape(2, 3)), mask=lib.tensor([[True, False, False], [False, True, True]]))
            exec(f, ns)
            assert ns["x"] is x0
            out.append(x0.numpy())
        np.testing.assert_allclose(*out, rtol=1e-15)


def test_inplace_refusals():
    x = tensor([1., 2], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"): x.add_(1)
    with pytest.raises(RuntimeError, match="leaf"): x[0] = 3
    with no_grad(): x.add_(1)
    assert x.tolist() == [2, 3]
    y = x * 1
    z = y.exp()
    z.add_(1)
    with pytest.raises(RuntimeError): z.sum().backward()
    with pytest.raises(RuntimeError): tensor([1, 2]).add_(1.5)
    with pytest.raises(RuntimeError): zeros(2).add_(zeros(3, 2))
    g = Generator().manual_seed(0)
    u, n, b = empty(50_000).uniform_(-1, 3, generator=g), empty(50_000).normal_(2, .5, generator=g), empty(50_000).bernoulli_(.3, generator=g)
    assert u.numpy().min() >= -1 and u.numpy().max() <= 3 and abs(u.numpy().mean() - 1) < .03 and abs(n.numpy().mean() - 2) < .02 and abs(n.numpy().std() - .5) < .01 and abs(b.numpy().mean() - .3) < .02


# ---- saving ----------------------------------------------------------------------------------------------------

def same(a, b):
    if isinstance(a, Tensor): return isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad and np.array_equal(a.detach().numpy(), b.detach().numpy(), equal_nan=is_float(a.dtype) and a.dtype.kind == "f")
    if isinstance(a, np.ndarray): return type(b) is np.ndarray and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict): return list(a) == list(b) and all_of(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)): return type(a) is type(b) and len(a) == len(b) and all_of(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a and b != b)


all_of = builtins.all
OBJECTS = [lambda: tensor([1., 2]), lambda: tensor(3), lambda: {"0.weight": ones(2, 3), "0.bias": zeros(2)}, lambda: {}, lambda: [], lambda: None, lambda: "text", lambda: zeros(0, 3),
           lambda: {"state": {0: {"step": 3, "exp_avg": zeros(2)}, 1: {}}, "param_groups": [{"lr": 1e-3, "betas": (.9, .999), "params": [0, 1], "foreach": None}]},
           lambda: {"x": float("nan"), "y": float("-inf"), "z": True, "a": np.arange(3, dtype="i2"), "d": float16, "dev": device("cuda", 1), "t": (1, [2, (3,)])},
           lambda: {"a": {"b": ones(1)}, "a.b": zeros(1), "__metadata__": ones(2), "": ones(3)}, lambda: ones(3, 4).mT, lambda: tensor([1., 2], requires_grad=True),
           lambda: [tensor(np.ones(2, d)) for d in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?")]]


@pytest.mark.parametrize("i", range(len(OBJECTS)))
def test_save_round_trip(i, tmp_path):
    obj = OBJECTS[i]()
    save(obj, tmp_path / "x.safetensors")
    assert same(obj, load(tmp_path / "x.safetensors")) and same(obj, load(str(tmp_path / "x.safetensors"), weights_only=True, map_location="cpu"))
    f = io.BytesIO(); save(obj, f); f.seek(0)
    assert same(obj, load(f)) and [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_save_bfloat16_shared_and_foreign(tmp_path):
    pytest.importorskip("ml_dtypes")
    t = tensor([1.5, 2], dtype="bfloat16")
    save({"t": t}, tmp_path / "b")
    assert load(tmp_path / "b")["t"].dtype == t.dtype and load(tmp_path / "b")["t"].tolist() == [1.5, 2]
    w = ones(2)
    save({"a": w, "b": w, "c": [w.detach()]}, tmp_path / "s")
    back = load(tmp_path / "s")
    assert back["a"] is back["b"] and np.shares_memory(back["a"].numpy(), back["c"][0].numpy())
    back["a"].add_(1)
    from safetensors.numpy import load_file, save_file
    assert list(load_file(tmp_path / "s")) == ["a"]
    save_file({"w": np.ones((2, 2), "f4")}, tmp_path / "f")
    assert load(tmp_path / "f")["w"].tolist() == [[1, 1], [1, 1]]


def test_every_flipped_byte_is_noticed(tmp_path):
    f = io.BytesIO(); save({"w": randn(2, 3), "n": 5}, f)
    good = f.getvalue()
    for i in range(len(good)):
        bad = bytearray(good); bad[i] ^= 1 << i % 8
        with pytest.raises(ValueError, match="load: the file: "): load(io.BytesIO(bytes(bad)))
    for n in range(0, len(good), 7):
        with pytest.raises(ValueError, match="load: the file: "): load(io.BytesIO(good[:n]))


def test_foreign_and_impossible(tmp_path):
    f = io.BytesIO(); torch.save({"w": torch.ones(2)}, f)
    for data, words in ((f.getvalue(), "torch.save"), (pickle.dumps([1.] * 30), "pickle"), (b"", "empty"), (b"a,b\n1,2\n3,4\n", "no safetensors file"), (bytes(100), "no safetensors|damaged")):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(ValueError, match=words): load(tmp_path / "x")
    with pytest.raises(FileNotFoundError): load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no folder"): save(ones(2), tmp_path / "no" / "x")
    loop = []; loop.append(loop)
    for obj, error, words in (({"f": {"g": len}}, TypeError, r"obj\['f'\]\['g'\] is a builtin"), ({(1, 2): 3}, TypeError, "key"), ({1, 2}, TypeError, "set"), (loop, ValueError, "itself"), (np.ones(2, "c8"), TypeError, "complex64")):
        (tmp_path / "kept").write_bytes(b"old")
        with pytest.raises(error, match=words): save(obj, tmp_path / "kept")
        assert (tmp_path / "kept").read_bytes() == b"old"


def test_crash_while_writing_keeps_the_old_file(tmp_path, monkeypatch):
    save(ones(2), tmp_path / "x")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError): save(zeros(2), tmp_path / "x")
    assert load(tmp_path / "x").tolist() == [1, 1] and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_without_safetensors_or_ml_dtypes(tmp_path, monkeypatch):
    import sys
    save(ones(2), tmp_path / "x")
    for name in ("safetensors", "safetensors.numpy", "ml_dtypes"): monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeError, match="save: safetensors is not installed; pip install"): save(ones(2), tmp_path / "y")
    with pytest.raises(RuntimeError, match="load: safetensors is not installed"): load(tmp_path / "x")
    with pytest.raises(RuntimeError, match="ml_dtypes, which does, is not installed"): as_dtype("bfloat16")


def test_inplace_shapes():
    for f in ("y.unsqueeze_(0).mul_(2)", "y.transpose_(0, 1).add_(1)", "y.unsqueeze_(1).squeeze_(1).pow_(2)"):
        out = []
        for lib in (Lib, torch):
            x = lib.tensor(np.linspace(.1, 1.5, 6).reshape(2, 3), requires_grad=True)
            y = x * 3
            z = eval(f)
            assert z is y
            (z * z).sum().backward()
            out.append((tuple(y.shape), x.grad.numpy()))
        assert out[0][0] == out[1][0]
        np.testing.assert_allclose(out[0][1], out[1][1], rtol=1e-12)
    with pytest.raises(RuntimeError, match="leaf"): tensor([1.], requires_grad=True).unsqueeze_(0)


def test_attributes():
    x = tensor([[1., 2]], requires_grad=True)
    y = x * 2
    assert x.is_leaf and y.requires_grad and not y.is_leaf and not y.detach().requires_grad and np.shares_memory(y.detach().numpy(), y.data.numpy())
    assert x.size() == x.shape == (1, 2) and x.size(-1) == 2 and x.dim() == 2 and x.numel() == 2 and x.device == device("cpu") and not x.is_cuda
    x.data = tensor([[5., 6]]); assert x.tolist() == [[5, 6]] and x.requires_grad
    with pytest.raises(RuntimeError, match="detach"): y.requires_grad = False
    with pytest.raises(RuntimeError, match="int64"): tensor([1]).requires_grad_()
    assert not y.detach_().requires_grad and y.is_leaf and not tensor([1.]).requires_grad_().requires_grad_(False).requires_grad


# ---- autograd.functional ---------------------------------------------------------------------------------------

def test_functional():
    from dlfs.autograd import functional as F
    TF = torch.autograd.functional
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(3,)), rng.normal(size=(3,))]
    us = [rng.normal(size=(3,)), rng.normal(size=(3,))]
    vector, scalar = lambda a, b: (a * b.exp(), (a**2).sum()), lambda a, b: (a**3 * b.sin()).sum()
    L, T = lambda v: tuple(map(tensor, v)), lambda v: tuple(map(torch.tensor, v))
    def close(a, b):
        if isinstance(a, tuple): return [close(x, y) for x, y in zip(a, b, strict=True)]
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)
        assert a.shape == tuple(b.shape) and a.requires_grad == b.requires_grad
    v = [rng.normal(size=3), np.array(1.5)]
    close(F.vjp(vector, L(xs), L(v)), TF.vjp(vector, T(xs), T(v)))
    close(F.jvp(vector, L(xs), L(us)), TF.jvp(vector, T(xs), T(us)))
    close(F.jacobian(vector, L(xs)), TF.jacobian(vector, T(xs)))
    close(F.hessian(scalar, L(xs)), TF.hessian(scalar, T(xs)))
    close(F.vhp(scalar, L(xs), L(us)), TF.vhp(scalar, T(xs), T(us)))
    close(F.hvp(scalar, L(xs), L(us)), TF.hvp(scalar, T(xs), T(us)))
    one = lambda a: (a**3).sum()
    close(F.hessian(one, tensor(xs[0])), TF.hessian(one, torch.tensor(xs[0])))
    close(F.vjp(one, tensor(xs[0])), TF.vjp(one, torch.tensor(xs[0])))
    x = tensor(xs[0], requires_grad=True)
    F.jacobian(lambda a: a**3, x, create_graph=True).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * xs[0], rtol=1e-12)
    with pytest.raises(RuntimeError, match="v may be left out"): F.vjp(lambda a: a * 2, tensor(xs[0]))
    with pytest.raises(ShapeError, match="v has shape"): F.jvp(lambda a: a * 2, tensor(xs[0]), ones(2, dtype=float64))
    with pytest.raises(RuntimeError, match="one number"): F.hessian(lambda a: a * 2, tensor(xs[0]))
    with pytest.raises(RuntimeError, match="does not depend"): F.jacobian(lambda a: tensor([1.]), tensor(xs[0]), strict=True)
    with pytest.raises(TypeError, match="list|int"): F.vjp(lambda a: 3, tensor(xs[0]))
