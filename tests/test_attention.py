"Attention and the scan beside PyTorch, on both backends: what the chapter's own checks cannot say."
import re, warnings
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies as st

import dlfs
import dlfs.nn.functional as F
from dlfs import kernels
from dlfs.autodiff import Tensor, grad, gradcheck, gradgradcheck

kernels._load()
WHY_NOT = kernels.AVAILABLE["c"]()
BACKENDS = ["array", pytest.param("c", marks=pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)))]
both = pytest.mark.parametrize("backend", BACKENDS)
needs_c = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
drawn = settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def ours(backend, arrays, g, **kw):
    with kernels.use(backend):
        ts = [Tensor(a, True) for a in arrays]
        out = F.scaled_dot_product_attention(*ts, **{k: Tensor(x) if isinstance(x, np.ndarray) else x for k, x in kw.items()})
        return [out.a] + [t.a for t in grad(out, ts, Tensor(g))]

def theirs(arrays, g, **kw):
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = torch.nn.functional.scaled_dot_product_attention(*ts, **{k: torch.tensor(x) if isinstance(x, np.ndarray) else x for k, x in kw.items()})
    return [out.detach().numpy()] + [t.numpy() for t in torch.autograd.grad(out, ts, torch.tensor(g))]

def close(got, want, tol):
    for name, x, y in zip(("out", "dq", "dk", "dv"), got, want):
        assert x.shape == y.shape and x.dtype == y.dtype, (name, x.shape, y.shape, x.dtype, y.dtype)
        np.testing.assert_allclose(x, y, rtol=tol, atol=tol * max(1, abs(y).max(initial=0)), err_msg=name)


# ---- attention beside PyTorch ----------------------------------------------------------------------------------

@both
@drawn
@given(data=st.data())
def test_like_pytorch(backend, data):
    "Lengths around the tiles' 64, head dimensions around the vectors' 16, batch axes, masks of every form and extent."
    pick = lambda *xs: data.draw(st.sampled_from(xs))
    batch = pick((), (1,), (2,), (3, 2), (2, 1, 2))
    lq, lk, d, e = pick(1, 2, 63, 64, 65, 130), pick(1, 3, 64, 66, 129), pick(1, 3, 16, 17, 40), pick(1, 5, 32, 33)
    dtype = pick(np.float64, np.float32)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    q, k, v, g = (rng.normal(size=batch + s).astype(dtype) for s in ((lq, d), (lk, d), (lk, e), (lq, e)))
    kw = {}
    form = pick("none", "causal", "bool", "float")
    if form == "causal": kw["is_causal"] = True
    elif form != "none":
        shape = pick((lq, lk), (1, lk), (lq, 1), (*batch, lq, lk), (*batch[:1], *[1] * len(batch[1:]), lq, lk))
        m = rng.random(shape) < pick(0.1, 0.5, 0.9)  # some rows see nothing
        kw["attn_mask"] = m if form == "bool" else np.where(m, rng.normal(size=shape), -np.inf).astype(dtype)
    if pick(True, False): kw["scale"] = pick(0.0, 0.3, 1.0, -0.5)
    if pick(True, False): q = np.ascontiguousarray(q.swapaxes(-1, -2)).swapaxes(-1, -2)
    close(ours(backend, (q, k, v), g, **kw), theirs((q, k, v), g, **kw), 1e-10 if dtype == np.float64 else 3e-5)


@both
def test_grouped_heads_and_batches_that_broadcast(backend):
    rng = np.random.default_rng(0)
    q, k, v, g = (rng.normal(size=s) for s in ((2, 6, 70, 8), (2, 2, 33, 8), (2, 3, 33, 8), (2, 6, 70, 8)))
    for kv in ((k, k + 1), (v, v - 1)): close(ours(backend, (q, *kv), g, enable_gqa=True), theirs((q, *kv), g, enable_gqa=True), 1e-10)
    one = k[:1, :1]
    close(ours(backend, (q, one, one + 1), g), theirs((q, one, one + 1), g), 1e-10)


@both
def test_scores_of_ten_thousand(backend):
    rng = np.random.default_rng(1)
    q, k, v, g = (rng.normal(size=(2, 100, 16)) for _ in range(4))
    q *= 1e4
    close(ours(backend, (q, k, v), g), theirs((q, k, v), g), 1e-9)
    x = [a.astype(np.float32) for a in (q, k, v, g)]
    got = ours(backend, x[:3], x[3])
    assert all(np.isfinite(a).all() for a in got)
    assert np.median(abs(got[0] - ours(backend, [a.astype(float) for a in x[:3]], g)[0])) < 1e-6
    same = np.full((1, 70, 16), 100., np.float32)  # all scores 40,000 and equal: the weights are exactly uniform
    np.testing.assert_allclose(ours(backend, (same, same, v[:1, :70].astype(np.float32)), np.ones((1, 70, 16), np.float32))[0][0, 0], v[0, :70].mean(0), atol=1e-6)


@both
def test_rows_that_see_nothing_give_zeros_and_no_gradient(backend):
    rng = np.random.default_rng(2)
    q, k, v, g = (rng.normal(size=(2, 80, 16)) for _ in range(4))
    m = np.ones((80, 80), bool); m[[3, 70]] = False
    for mask in (m, np.where(m, 0., -np.inf)):
        out, dq, dk, dv = ours(backend, (q, k, v), g, attn_mask=mask)
        assert (out[:, [3, 70]] == 0).all() and (dq[:, [3, 70]] == 0).all() and np.isfinite([dq, dk, dv]).all()
    nothing = ours(backend, (q, k, v), g, attn_mask=np.zeros((80, 80), bool))
    assert all((x == 0).all() for x in nothing)


@both
def test_causal_counts_from_the_top_left(backend):
    rng = np.random.default_rng(3)
    for lq, lk in ((5, 90), (90, 5), (130, 70)):
        q, k, v, g = (rng.normal(size=(1, n, 8)) for n in (lq, lk, lk, lq))
        close(ours(backend, (q, k, v), g, is_causal=True), ours("array", (q, k, v), g, attn_mask=np.tri(lq, lk, dtype=bool)), 1e-12)


@both
def test_nothing_to_attend_to(backend):
    for q, k, v in (((2, 0, 4), (2, 3, 4), (2, 3, 5)), ((2, 3, 4), (2, 0, 4), (2, 0, 5)), ((0, 3, 4), (0, 3, 4), (0, 3, 5)), ((2, 3, 0), (2, 3, 0), (2, 3, 5)), ((2, 3, 4), (2, 3, 4), (2, 3, 0))):
        arrays, g = [np.ones(s) for s in (q, k, v)], np.ones((*q[:-1], v[-1]))
        for kw in ({}, dict(is_causal=True)): close(ours(backend, arrays, g, **kw), theirs(arrays, g, **kw), 1e-12)


@both
def test_nan_and_infinity_spread_over_their_query(backend):
    rng = np.random.default_rng(4)
    q, k, v = (rng.normal(size=(1, 70, 16)) for _ in range(3))
    for bad in (np.nan, np.inf, -np.inf):
        q2 = q.copy(); q2[0, 5, 0] = bad
        with np.errstate(invalid="ignore"): out = ours(backend, (q2, k, v), np.ones_like(q))[0]
        assert np.isnan(out[0, 5]).all() and np.isfinite(np.delete(out, 5, 1)).all()
    v2 = v.copy(); v2[0, 69, 3] = np.nan
    out = ours(backend, (q, k, v2), np.ones_like(q))[0]
    assert np.isnan(out[..., 3]).all() and np.isfinite(np.delete(out, 3, 2)).all()


def test_a_mask_that_learns():
    rng = np.random.default_rng(5)
    q, k, v, m = (rng.normal(size=s) for s in ((2, 3, 4), (2, 5, 4), (2, 5, 4), (3, 5)))
    T = [Tensor(x, True) for x in (q, k, v, m)]
    P = [torch.tensor(x, requires_grad=True) for x in (q, k, v, m)]
    got = grad(F.scaled_dot_product_attention(*T).sum() * 2, T)
    want = torch.autograd.grad(torch.nn.functional.scaled_dot_product_attention(*P).sum() * 2, P)
    for x, y in zip(got, want): np.testing.assert_allclose(x.a, y.numpy(), atol=1e-12)


def test_dropout_keeps_the_mean_and_repeats_with_the_seed():
    q = Tensor(np.zeros((200, 1, 4), np.float32)); k, v = (Tensor(np.ones((200, 64, 4), np.float32)) for _ in range(2))
    dlfs.manual_seed(0); a = F.scaled_dot_product_attention(q, k, v, dropout_p=.5)
    dlfs.manual_seed(0); b = F.scaled_dot_product_attention(q, k, v, dropout_p=.5)
    assert np.array_equal(a.a, b.a) and abs(a.a.mean() - 1) < .05 and a.a.std() > .05
    assert (F.scaled_dot_product_attention(q, k, v, dropout_p=1.).a == 0).all()
    raw = F.scaled_dot_product_attention(q.a, k.a, v.a, dropout_p=.5)
    assert isinstance(raw, np.ndarray) and raw.shape == a.shape


# ---- which backend, and what it does ---------------------------------------------------------------------------

def counts(name):
    return {b: n for op, b, n, _ in kernels.report() if op == name}

@needs_c
def test_c_runs_both_ways_and_higher_derivatives_fall_back():
    x = [Tensor(np.random.default_rng(i).normal(size=(2, 5, 16)), True) for i in range(3)]
    with kernels.use("c"):
        kernels.report(reset=True)
        out = F.scaled_dot_product_attention(*x, is_causal=True)
        g, = grad(out.sum(), x[0], create_graph=True)
        assert counts("attention") == {"c": 1} and counts("attention_grad") == {"array": 1}
        assert "recorded for higher derivatives" in str(kernels.report())
        assert grad(g.sum(), x[1])[0].shape == (2, 5, 16)
        before = counts("attention_grad")["c"]  # the pass that differentiates the gradient is not recorded itself
        grad(F.scaled_dot_product_attention(*x, is_causal=True).sum(), x)
        assert counts("attention_grad")["c"] == before + 1
        assert gradgradcheck(lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), [Tensor(t.a[:1, :3, :2].copy(), True) for t in x])


@needs_c
def test_forward_on_one_backend_backward_on_the_other():
    rng = np.random.default_rng(6)
    x, g = [Tensor(rng.normal(size=(2, 70, 8)), True) for _ in range(3)], Tensor(rng.normal(size=(2, 70, 8)))
    want = ours("array", [t.a for t in x], g.a)
    for there, back in (("array", "c"), ("c", "array")):
        with kernels.use(there): out = F.scaled_dot_product_attention(*x)
        with kernels.use(back): gs = grad(out, x, g)
        close([out.a] + [t.a for t in gs], want, 1e-12)


@needs_c
def test_no_thread_count_changes_a_bit():
    lib = kernels.c.library().lib
    if not hasattr(lib, "omp_set_num_threads"): pytest.skip("built without OpenMP")
    rng, before = np.random.default_rng(7), lib.dlfs_threads()
    try:
        for heads in (1, 2, 3, 7):
            for causal in (False, True):
                q, k, v, g = (rng.normal(size=(heads, n, 32)).astype(np.float32) for n in (200, 330, 330, 200))
                a, b = rng.normal(size=(2, 3, 301, 700)).astype(np.float32) * .5
                results = []
                for n in (1, 2, 3, 8):
                    lib.omp_set_num_threads(n)
                    A, B = Tensor(a, True), Tensor(b, True)
                    with kernels.use("c"): h = F.associative_scan(A, B, 1); gs = grad(h.sum(), [A, B])
                    results.append(ours("c", (q, k, v), g, is_causal=causal) + [h.a] + [x.a for x in gs])
                for r in results[1:]: assert all(np.array_equal(x, y) for x, y in zip(r, results[0]))
    finally: lib.omp_set_num_threads(before)


@needs_c
def test_half_precision_falls_back():
    x = [np.random.default_rng(i).normal(size=(2, 5, 16)).astype(np.float16) for i in range(3)]
    kernels.report(reset=True)
    with kernels.use("auto"): out = F.scaled_dot_product_attention(*x)
    assert out.dtype == np.float16 and "dtype float16" in str(kernels.report())
    np.testing.assert_allclose(out, F.scaled_dot_product_attention(*[a.astype(float) for a in x]), atol=5e-3)


def test_what_backward_needs_may_not_change():
    x = [Tensor(np.random.default_rng(i).normal(size=(2, 5, 16)), True) for i in range(3)]
    y = x[0] * 1
    out = F.scaled_dot_product_attention(y, *x[1:])
    y += 1
    with pytest.raises(RuntimeError, match="inplace"): out.sum().backward()
    out = F.scaled_dot_product_attention(*x)
    out.sum().backward(retain_graph=True); out.sum().backward()
    with pytest.raises(RuntimeError, match="freed"): out.sum().backward()


# ---- refusals --------------------------------------------------------------------------------------------------

def z(*shape, dtype=np.float32): return Tensor(np.zeros(shape, dtype))
REFUSED = [
    (lambda: F.scaled_dot_product_attention(z(4), z(3, 4), z(3, 4)), ValueError, "query (4,), key (3, 4) and value (3, 4): each needs at least two axes"),
    (lambda: F.scaled_dot_product_attention(z(3, 4), z(3, 5), z(3, 4)), ValueError, "queries of length 4 cannot meet keys of length 5"),
    (lambda: F.scaled_dot_product_attention(z(3, 4), z(3, 4), z(2, 4)), ValueError, "3 keys for 2 values"),
    (lambda: F.scaled_dot_product_attention(z(2, 3, 4), z(3, 3, 4), z(3, 3, 4)), ValueError, "batch axes of query (2, 3, 4), key (3, 3, 4) and value (3, 3, 4) do not broadcast"),
    (lambda: F.scaled_dot_product_attention(z(3, 4), z(3, 4, dtype=np.float64), z(3, 4)), TypeError, "query is float32, key float64, value float32"),
    (lambda: F.scaled_dot_product_attention(*[z(3, 4, dtype=np.int64)] * 3), TypeError, "query is int64; attention is of floating numbers"),
    (lambda: F.scaled_dot_product_attention(z(3, 4), z(5, 4), z(5, 4), z(3, 5, dtype=np.int32)), TypeError, "attn_mask is int32; wanted bool, or float32 like the query"),
    (lambda: F.scaled_dot_product_attention(z(3, 4), z(5, 4), z(5, 4), z(3, 5, dtype=np.float64)), TypeError, "attn_mask is float64; wanted bool, or float32"),
    (lambda: F.scaled_dot_product_attention(z(3, 4), z(5, 4), z(5, 4), z(5, 3)), ValueError, "attn_mask (5, 3) does not broadcast to the scores, (3, 5)"),
    (lambda: F.scaled_dot_product_attention(z(3, 4), z(5, 4), z(5, 4), z(2, 3, 5)), ValueError, "attn_mask (2, 3, 5) does not broadcast to the scores, (3, 5)"),
    (lambda: F.scaled_dot_product_attention(z(3, 4), z(3, 4), z(3, 4), dropout_p=1.5), ValueError, "dropout_p lies between 0 and 1, got 1.5"),
    (lambda: F.scaled_dot_product_attention(z(6, 3, 4), z(4, 3, 4), z(4, 3, 4), enable_gqa=True), ValueError, "must divide those of query"),
    (lambda: F.associative_scan(z(3), z(3, dtype=np.float64)), TypeError, "a is float32, b float64"),
    (lambda: F.associative_scan(z(3), z(4)), ValueError, "a (3,) and b (4,): shapes do not broadcast"),
    (lambda: F.associative_scan(z(), z()), ValueError, "there is no axis to run along"),
    (lambda: F.associative_scan(z(3), z(3), 1), IndexError, "associative_scan: dimension out of range"),
]

@pytest.mark.parametrize("call,kind,words", REFUSED, ids=[w[:40] for *_, w in REFUSED])
def test_a_wrong_call_says_what_is_wrong(call, kind, words):
    with pytest.raises(kind, match=re.escape(words)): call()


# ---- the scan --------------------------------------------------------------------------------------------------

def loop(a, b, dim, reverse):
    a, b = torch.broadcast_tensors(a, b)
    order, hs = -1 if reverse else 1, []
    for x, y in zip(a.unbind(dim)[::order], b.unbind(dim)[::order]): hs.append(x * (hs[-1] if hs else 0) + y)
    return torch.stack(hs[::order], dim)

@both
@drawn
@given(data=st.data())
def test_scan_like_a_loop_of_pytorch(backend, data):
    pick = lambda *xs: data.draw(st.sampled_from(xs))
    shape = pick((1,), (17,), (1000,), (3, 1), (1, 513), (5, 600), (2, 9, 3), (3, 7, 520), (2, 2, 5, 3))
    dim, reverse, dtype = data.draw(st.integers(-len(shape), len(shape) - 1)), pick(False, True), pick(np.float64, np.float32)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    a = rng.uniform(-1, 1, pick(shape, shape[1:], shape[:1] + (1,) * (len(shape) - 1), ())).astype(dtype)
    b, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    if pick(True, False): b = np.asfortranarray(b)
    with kernels.use(backend):
        A, B = Tensor(a, True), Tensor(b, True)
        h = F.associative_scan(A, B, dim, reverse)
        got = [h.a] + [x.a for x in grad(h, [A, B], Tensor(g))]
    A, B = (torch.tensor(np.array(x), requires_grad=True) for x in (a, b))
    h = loop(A, B, dim, reverse)
    tol = 1e-11 if dtype == np.float64 else 2e-5
    for x, y in zip(got, [h.detach(), *torch.autograd.grad(h, [A, B], torch.tensor(g))]):
        np.testing.assert_allclose(x, y.numpy(), rtol=tol, atol=tol * max(1, abs(y.numpy()).max()))
        assert x.dtype == dtype


@both
def test_scan_of_arrays_gives_arrays_and_cumsum_when_nothing_is_forgotten(backend):
    b = np.random.default_rng(0).normal(size=(3, 5000))
    with kernels.use(backend):
        h = F.associative_scan(np.ones(1), b)
        assert isinstance(h, np.ndarray)
        np.testing.assert_allclose(h, np.cumsum(b, 1), atol=1e-10)
        np.testing.assert_allclose(F.associative_scan(np.zeros(5000), b), b)
        assert F.associative_scan(np.ones((2, 0)), np.ones((2, 0))).shape == (2, 0)


@both
def test_the_first_coefficient_meets_nothing(backend):
    a, b = Tensor(np.array([np.nan, .5, 2.]), True), Tensor(np.ones(3), True)
    with kernels.use(backend):
        h = F.associative_scan(a, b)
        assert h.tolist() == [1, 1.5, 4]
        ga, gb = grad(h.sum(), [a, b])
        assert ga.tolist() == [0, 3, 1.5] and gb.tolist() == [2.5, 3, 1]


@both
def test_scan_higher_derivatives(backend):
    rng = np.random.default_rng(0)
    for n in (1, 2, 5):
        a, b = Tensor(rng.normal(size=(2, n)), True), Tensor(rng.normal(size=(2, n)), True)
        with kernels.use(backend):
            for reverse in (False, True):
                f = lambda *ab: F.associative_scan(*ab, reverse=reverse)
                assert gradcheck(f, (a, b)) and gradgradcheck(f, (a, b))
                assert gradgradcheck(lambda a, b: F._doubling(a, b, 1, reverse), (a, b))
