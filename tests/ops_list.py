"""The one list of operations. Every check of test_ops.py runs over it, and an operation of `dlfs.autodiff.OPS` or a public function of
`dlfs.ops` that it lacks fails the suite. Since dlfs keeps PyTorch's API, a case holds one function for both: `f(T, *inputs)`, with T
either library. Its inputs come from `sample(d)`, where `d` draws whole numbers, from hypothesis or from a seeded generator."""
import math

import numpy as np

CASES = []
PUBLIC_HELPERS = {"UFUNCS", "axes_of", "restore_axes", "as_index"}  # of dlfs.ops, no operations


class Case:
    def __init__(self, name, f, sample, twice=True, nan=True, elementwise=False, float32=True, check=True, odd_slope=False, rtol=0):
        self.name, self.f, self.sample, self.twice, self.nan = name, f, sample, twice, nan
        self.rtol = rtol  # where PyTorch computes in float64 with constants rounded to float32
        self.elementwise = elementwise  # of one or two arrays: compared on a grid of nan, infinities and zeros
        self.float32, self.check = float32, check
        self.odd_slope = odd_slope      # on that grid, where a slope does not exist, PyTorch's choice is not ours
        self.id = f"{name}-{sum(c.name == name for c in CASES)}"
        CASES.append(self)
    def __repr__(self): return self.id


class Leaf:
    "An array that is differentiated."
    def __init__(self, a): self.a = a


class Draws:
    "Shapes, axes and arrays, all from `integer(lo, hi)`."
    def __init__(self, integer, plain=False):
        self.integer, self.plain = integer, plain  # plain: contiguous and not empty, as finite differences need them
        self.rng = np.random.default_rng(integer(0, 2**31))

    def boolean(self): return bool(self.integer(0, 1))
    def pick(self, xs): return xs[self.integer(0, len(xs) - 1)]

    def shape(self, lo=0, hi=3, least=0, most=3):
        least = max(least, 1) if self.plain else least
        return tuple(self.integer(least, most) for _ in range(self.integer(lo, hi)))

    def axis(self, n):
        return self.integer(-max(n, 1), max(n, 1) - 1)

    def axes(self, n):
        "None, an int or a tuple."
        kind = self.integer(0, 2)
        if kind == 0: return None
        if kind == 1: return self.axis(n)
        chosen = [i for i in range(n) if self.boolean()] or ([0] if n else [0])
        return tuple(i - n if self.boolean() and n else i for i in chosen)

    def numbers(self, shape, lo=-2., hi=2.):
        "Distinct, none near the middle or near another: no finite difference steps over a kink."
        n = math.prod(shape)
        return (lo + (hi - lo) * (self.rng.permutation(n) + self.rng.uniform(.55, .8, n)) / max(n, 1)).reshape(shape)

    def leaf(self, shape, lo=-2., hi=2., ties=True):
        "An array of that shape, now and then not contiguous, or with a stride of zero."
        layout = 0 if self.plain else self.integer(0, 4)
        if layout == 1: return Leaf(np.asfortranarray(self.numbers(shape, lo, hi)))
        if layout == 2 and shape: return Leaf(self.numbers(shape[:-1] + (2 * shape[-1],), lo, hi)[..., ::2])
        if layout == 3 and shape: return Leaf(self.numbers(shape[::-1], lo, hi).T)
        if layout == 4 and shape and ties and shape[0]: return Leaf(np.broadcast_to(self.numbers((1,) + shape[1:], lo, hi), shape))
        return Leaf(self.numbers(shape, lo, hi))

    def part(self, shape):
        "A shape that broadcasts to `shape`."
        cut = self.integer(0, len(shape))
        return tuple(1 if self.integer(0, 2) == 0 else n for n in shape[cut:])

    def pair(self, lo=0, hi=3):
        "Two shapes that broadcast."
        s = self.shape(lo, hi)
        return (s, self.part(s)) if self.boolean() else (self.part(s), s)

    def index(self, shape, n): return np.asarray(self.rng.integers(0, max(n, 1), shape))
    def mask(self, shape): return np.asarray(self.rng.random(shape) < .5)


def case(name, f, sample, **kw): Case(name, f, sample, **kw)


# ---- one number ------------------------------------------------------------------------------------------------

def unary(name, lo=-2., hi=2., **kw):
    case(name, lambda T, x: getattr(T, name)(x), lambda d: [d.leaf(d.shape(), lo, hi)], elementwise=True, **kw)

for name in "abs absolute".split(): unary(name, odd_slope=True)  # PyTorch: 0 at nan
for name in "exp sin cos tanh sigmoid relu neg square expm1 exp2 atan sinh cosh asinh nan_to_num erf floor ceil trunc round frac arctan negative".split(): unary(name)
unary("sign")
for name in "log sqrt log2 log10 rsqrt".split(): unary(name, .3, 2)
unary("reciprocal", .3, 2); unary("log1p", -.6, 2); unary("acosh", 1.2, 3); unary("arccosh", 1.2, 3); unary("tan", -1.2, 1.2)
for name in "asin acos atanh arcsin arccos arctanh".split(): unary(name, -.9, .9)
unary("arcsinh")
case("round", lambda T, x: T.round(x, decimals=2), lambda d: [d.leaf(d.shape())])
case("clone", lambda T, x: x.clone(), lambda d: [d.leaf(d.shape())])
case("cast", lambda T, x: T.cast(x, np.float64), lambda d: [d.leaf(d.shape())], float32=False)
case("cast", lambda T, x: (x.float() * 2).double() * x, lambda d: [d.leaf(d.shape())], check=False, float32=False)
case("move", lambda T, x: T.move(x, "cpu"), lambda d: [d.leaf(d.shape())])
case("masked", lambda T, x: T.masked(x, np.arange(x.numel()).reshape(tuple(x.shape)) % 3 > 0), lambda d: [d.leaf(d.shape())])
case("clamp", lambda T, x, lo, hi: T.clamp(x, lo, hi), lambda d: [d.leaf(d.shape()), d.pick([None, -.5, -1]), d.pick([.7, 1])])
case("clip", lambda T, x: x.clip(min=-.3), lambda d: [d.leaf(d.shape())])
case("clamp_min", lambda T, x: T.clamp_min(x, -.3) + T.clamp_max(x, .3), lambda d: [d.leaf(d.shape())])
case("clamp_max", lambda T, x: x.clamp_max(.3), lambda d: [d.leaf(d.shape())])
def _bounds(d):
    s = d.shape()
    return [d.leaf(s), d.leaf(d.part(s), -1.9, -.5), d.leaf(d.part(s), .3, 1.6)]
case("clamp", lambda T, x, lo, hi: T.clamp(x, lo, hi), _bounds, nan=False)  # nan in a bound: PyTorch passes it on, we ignore it
case("nan_to_num", lambda T, x: T.nan_to_num(x, 1., 2., 3.), lambda d: [d.leaf(d.shape())])


# ---- two numbers -----------------------------------------------------------------------------------------------

def binary(name, f=None, lo=-2., hi=2., lo2=None, hi2=None, **kw):
    def sample(d):
        a, b = d.pair()
        return [d.leaf(a, lo, hi), d.leaf(b, lo if lo2 is None else lo2, hi if hi2 is None else hi2)]
    case(name, f or (lambda T, x, y: getattr(T, name)(x, y)), sample, **kw)

for name in "add sub mul atan2 hypot logaddexp multiply subtract arctan2".split(): binary(name, elementwise=True, hi2=2.1)
for name in "div divide true_divide".split(): binary(name, lo2=.4, hi2=2, elementwise=True)
for name in ("maximum", "minimum"): binary(name, lo2=-2.1, hi2=1.85, elementwise=True, odd_slope=True)
binary("pow", lo=.4, hi=2, elementwise=True, odd_slope=True)
for p in (2, 3, .5, -1, 0, 1): case("pow", lambda T, x, p=p: x ** p, lambda d: [d.leaf(d.shape(), .3, 2)], elementwise=True, odd_slope=p == .5)  # the sign of the infinite slope at -0.
case("pow", lambda T, x: 2. ** x, lambda d: [d.leaf(d.shape())])
binary("fmod", lo=.1, hi=.9, lo2=.31, hi2=.37, elementwise=True, odd_slope=True); binary("remainder", lo=-.9, hi=-.1, lo2=.31, hi2=.37, elementwise=True, odd_slope=True)
binary("xlogy", lo=.2, hi=2, elementwise=True, odd_slope=True)
binary("add", lambda T, x, y: T.add(x, y, alpha=2.5)); binary("sub", lambda T, x, y: x.sub(y, alpha=.5))
binary("div", lambda T, x, y: T.div(x, y, rounding_mode="floor"), lo2=.4, hi2=.7, elementwise=True)
binary("div", lambda T, x, y: x.div(y, rounding_mode="trunc"), lo2=.4, hi2=.7, elementwise=True)
for f in (lambda T, x: 2 - x, lambda T, x: x * 3 + 1, lambda T, x: 2. / (x * x + 1), lambda T, x: -x / 2, lambda T, x: abs(+x)): case("add", f, lambda d: [d.leaf(d.shape())])
binary("remainder", lambda T, x, y: x % y, lo=.1, hi=.9, lo2=.31, hi2=.37); binary("floor_divide", lambda T, x, y: x.detach() // y.detach(), lo=.1, hi=.9, lo2=.31, hi2=.37, nan=False, check=False)
def _three(d):
    s = d.shape()
    return [d.leaf(d.part(s)), d.leaf(s), d.leaf(d.part(s), .4, 2)]
case("lerp", lambda T, x, y, w: T.lerp(x, y, w), lambda d: (lambda s: [d.leaf(s), d.leaf(s), d.leaf(s, .4, 2)])(d.shape()), nan=False)  # written in another order
case("lerp", lambda T, x, y: x.lerp(y, .3), lambda d: (lambda s: [d.leaf(s), d.leaf(s)])(d.shape()), nan=False)
case("addcmul", lambda T, x, y, z: T.addcmul(x, y, z, value=.5), _three); case("addcdiv", lambda T, x, y, z: x.addcdiv(y, z, value=2), _three)
def _choice(d):
    s = d.shape()
    return [d.mask(d.part(s)), d.leaf(d.part(s)), d.leaf(s)]
case("where", lambda T, c, x, y: T.where(c, x, y), _choice)
case("where", lambda T, c, x, y: T.where(c, x, 0.) + T.where(c, 1., y), _choice)
case("masked_fill", lambda T, c, x, y: y.masked_fill(c, 2.), _choice)
case("masked_fill", lambda T, c, x, v: T.masked_fill(x, c, v), lambda d: (lambda s: [d.mask(d.part(s)), d.leaf(s), d.leaf(())])(d.shape()))
case("masked_select", lambda T, c, x, y: T.masked_select(y, c), _choice)


# ---- reductions ------------------------------------------------------------------------------------------------

def reduction(name, f=None, lo=-2., hi=2., least=0, ties=True, axes="axes", lo_dims=0, **kw):
    def sample(d):
        s = d.shape(lo_dims, 3, least)
        return [d.leaf(s, lo, hi, ties), getattr(d, axes)(len(s)), d.boolean()]
    case(name, f or (lambda T, x, dim, keep: getattr(T, name)(x, dim, keep)), sample, **kw)

def everything(name, f=None, lo=-2., hi=2., least=0, ties=True, lo_dims=0, **kw):
    case(name, f or (lambda T, x: getattr(T, name)(x)), lambda d: [d.leaf(d.shape(lo_dims, 3, least), lo, hi, ties)], **kw)

reduction("sum"); everything("sum"); reduction("mean"); everything("mean")
reduction("sum", lambda T, x, dim, keep: x.sum(axis=dim, keepdims=keep)); reduction("logsumexp", axes="axis")
reduction("amax", lambda T, x, dim, keep: T.amax(x, () if dim is None else dim, keep), least=1); reduction("amin", lambda T, x, dim, keep: x.amin(() if dim is None else dim, keep), least=1)
reduction("var", lambda T, x, dim, keep: T.var(x, dim, keepdim=keep), least=2); reduction("var", lambda T, x, dim, keep: x.var(dim, correction=0, keepdim=keep), least=1)
reduction("std", lambda T, x, dim, keep: T.std(x, dim, keepdim=keep), least=2, lo_dims=1, ties=False); reduction("std", lambda T, x, dim, keep: x.std(dim, unbiased=False, keepdim=keep), least=2, lo_dims=1, ties=False, axes="axis")
everything("var", lambda T, x: x.var(False), least=1); everything("std", lambda T, x: T.std(x, False), least=2, lo_dims=1)
# (PyTorch's mean of inf is nan here, and inf in `mean`: it updates mean and variance together)
reduction("std_mean", lambda T, x, dim, keep: T.std_mean(x, dim, keepdim=keep), least=2, lo_dims=1, ties=False, nan=False); reduction("var_mean", lambda T, x, dim, keep: T.var_mean(x, dim, keepdim=keep), least=2, lo_dims=1, nan=False)
reduction("prod", axes="axis"); everything("prod")
reduction("prod", lambda T, x, dim, keep: T.prod(T.where(x > 0, x, 0 * x), dim, keep), axes="axis", nan=False)
for p in (1, 2, 3, 1.5, math.inf, -math.inf, "fro"): reduction("norm", lambda T, x, dim, keep, p=p: x.norm(p, dim, keep), least=1, ties=p != -math.inf and p != math.inf)
reduction("norm", lambda T, x, dim, keep: T.norm(x, 0, dim, keep), least=1, check=False); everything("norm", lambda T, x: x.norm()); everything("norm", lambda T, x: x.norm(.5), least=1, nan=False)
reduction("norm", lambda T, x, dim, keep: T.linalg.vector_norm(x, 3, dim, keep), least=1)
reduction("softmax", lambda T, x, dim, keep: T.softmax(x, dim), axes="axis"); reduction("log_softmax", lambda T, x, dim, keep: x.log_softmax(dim), axes="axis")
everything("max", least=1); reduction("max", lambda T, x, dim, keep: T.max(input=x, dim=dim, keepdim=keep).values, axes="axis", least=1, ties=False); everything("min", least=1); reduction("max", axes="axis", least=1, ties=False); reduction("min", lambda T, x, dim, keep: x.min(dim=dim, keepdim=keep), axes="axis", least=1, ties=False)
binary("max", lambda T, x, y: T.max(x, y), lo2=-2.1, hi2=1.85); binary("min", lambda T, x, y: x.min(y), lo2=-2.1, hi2=1.85)


# ---- order and scans -------------------------------------------------------------------------------------------

order = dict(axes="axis", ties=False, least=1)
reduction("sort", lambda T, x, dim, down: T.sort(x, dim, down), **order); reduction("sort", lambda T, x, dim, down: x.sort(dim=dim, descending=down), **order)
reduction("argsort", lambda T, x, dim, down: T.argsort(x, dim, down), check=False, **order)
reduction("topk", lambda T, x, dim, big: T.topk(x, 1, dim, largest=big), **order); reduction("topk", lambda T, x, dim, big: x.topk(x.shape[dim] if x.ndim else 1, dim, big), **order)
reduction("kthvalue", lambda T, x, dim, keep: T.kthvalue(x, 1, dim, keep), **order); reduction("kthvalue", lambda T, x, dim, keep: x.kthvalue(x.shape[dim] if x.ndim else 1, dim, keep), **order)
reduction("median", lambda T, x, dim, keep: T.median(x, dim, keep), **order); everything("median", ties=False)
for name in ("cumsum", "cumprod", "cummax", "cummin"): reduction(name, lambda T, x, dim, _, name=name: getattr(T, name)(x, dim), axes="axis", ties=name in ("cumsum", "cumprod"))
reduction("cumprod", lambda T, x, dim, _: T.where(x > 0, x, 0 * x).cumprod(dim), axes="axis", nan=False)
reduction("logcumsumexp", lambda T, x, dim, _: T.logcumsumexp(x, dim), axes="axis", nan=False)  # where -inf comes first, nan or -inf is a matter of the order of summation


# ---- shapes and moves ------------------------------------------------------------------------------------------

def shaped(name, f, lo=0, hi=3, least=0, **kw): case(name, f, lambda d: [d.leaf(d.shape(lo, hi, least))], **kw)
def with_axis(name, f, lo=1, least=0, **kw): case(name, f, lambda d: (lambda s: [d.leaf(s), d.axis(len(s)), d.axis(len(s))])(d.shape(lo, 3, least)), **kw)

shaped("reshape", lambda T, x: T.reshape(x, (-1,)) if 0 not in x.shape else x.reshape(x.shape[::-1])); shaped("reshape", lambda T, x: x.clone().view(1, *x.shape))
shaped("flatten", lambda T, x: T.flatten(x)); with_axis("flatten", lambda T, x, a, b: x.flatten(min(a % x.ndim, b % x.ndim), max(a % x.ndim, b % x.ndim)))
shaped("ravel", lambda T, x: T.ravel(x)); case("unflatten", lambda T, x: T.unflatten(x, 1, (2, -1)), lambda d: [d.leaf((d.integer(1, 2), 4, d.integer(1, 2)))])
shaped("permute", lambda T, x: T.permute(x, tuple(reversed(range(x.ndim))))); shaped("permute", lambda T, x: x.permute(2, 0, 1) * 2, 3)
with_axis("transpose", lambda T, x, a, b: T.transpose(x, a, b)); with_axis("transpose", lambda T, x, a, b: x.mT, 2); shaped("t", lambda T, x: x.t(), 0, 2); shaped("t", lambda T, x: T.t(x) + x.T, 0, 1)
for name in ("swapaxes", "swapdims"): with_axis(name, lambda T, x, a, b, name=name: getattr(T, name)(x, a, b))
for name in ("movedim", "moveaxis"): with_axis(name, lambda T, x, a, b, name=name: getattr(T, name)(x, a, b))
case("movedim", lambda T, x: x.movedim((0, 2), (1, 0)), lambda d: [d.leaf(d.shape(3, 3))])
with_axis("squeeze", lambda T, x, a, b: x.squeeze(a)); shaped("squeeze", lambda T, x: T.squeeze(x)); with_axis("unsqueeze", lambda T, x, a, b: T.unsqueeze(x, a), 0)
def _to_larger(d):
    s = d.shape(least=1)
    return [d.leaf(d.part(s)), s]
case("expand", lambda T, x, s: x.expand(s), _to_larger); case("expand", lambda T, x, s: x.expand(2, *([-1] * x.ndim)) * 1, _to_larger)
case("broadcast_to", lambda T, x, s: T.broadcast_to(x, s), _to_larger); case("expand_as", lambda T, x, s: x.expand_as(T.tensor(np.zeros(s))), _to_larger)
case("view_as", lambda T, x: x.clone().view_as(T.tensor(np.zeros((2, 6)))) + x.reshape_as(T.tensor(np.zeros((2, 6)))), lambda d: [d.leaf((3, 4))])
case("reshape_as", lambda T, x: x.reshape_as(T.tensor(np.zeros((2, 6)))), lambda d: [d.leaf((3, 4))])
binary("broadcast_tensors", lambda T, x, y: T.broadcast_tensors(x, y)); case("sum_to_size", lambda T, x, s: x.sum_to_size(s), lambda d: (lambda s: [d.leaf(s), d.part(s)])(d.shape()))
for how in ("ij", "xy"): case("meshgrid", lambda T, x, y, how=how: T.meshgrid(x, y, indexing=how), lambda d: [d.leaf(d.shape(1, 1)), d.leaf(d.shape(1, 1))])
def _joinable(d):
    s = list(d.shape(1)); k = d.axis(len(s)); other = list(s); other[k] = d.integer(1, 3)
    return [d.leaf(tuple(s)), d.leaf(tuple(other)), k]
for name in ("cat", "concat", "concatenate"): case(name, lambda T, x, y, k, name=name: getattr(T, name)([x, y, x], k), _joinable)
def _alike(d):
    s = d.shape()
    return [d.leaf(s), d.leaf(s), d.integer(-len(s) - 1, len(s))]
case("stack", lambda T, x, y, k: T.stack([x, y], k), _alike); case("stack", lambda T, x, y, k: T.stack((x, y, x), dim=k), _alike)
case("hstack", lambda T, x, y, k: T.hstack([x, y]), _alike); case("vstack", lambda T, x, y, k: T.vstack([x, y]), _alike); case("row_stack", lambda T, x, y, k: T.vstack((x, y)), _alike)
shaped("atleast_1d", lambda T, x: T.atleast_1d(x)); shaped("atleast_2d", lambda T, x: T.atleast_2d(x))
with_axis("split", lambda T, x, a, b: T.split(x, 2, a)); with_axis("split", lambda T, x, a, b: x.split([1, x.shape[a] - 1], a)[1], least=1); with_axis("split", lambda T, x, a, b: x.split(1, a)[0] * 2, least=1)
with_axis("chunk", lambda T, x, a, b: T.chunk(x, 2, a)); with_axis("tensor_split", lambda T, x, a, b: T.tensor_split(x, 3, a)); with_axis("tensor_split", lambda T, x, a, b: x.tensor_split((1, 2), a))
with_axis("unbind", lambda T, x, a, b: T.unbind(x, a)); with_axis("unbind", lambda T, x, a, b: [r * i for i, r in enumerate(x.unbind(a))][-1], least=1)
with_axis("flip", lambda T, x, a, b: T.flip(x, (a,))); shaped("flip", lambda T, x: x.flip(0, -1), 2); shaped("flip", lambda T, x: T.flip(x, dims=[0]), 1); shaped("fliplr", lambda T, x: T.fliplr(x), 2); shaped("flipud", lambda T, x: T.flipud(x), 1)
with_axis("roll", lambda T, x, a, b: T.roll(x, b, a)); shaped("roll", lambda T, x: x.roll(1)); shaped("roll", lambda T, x: T.roll(x, (1, -2), (0, 1)), 2)
for k in (0, 1, 2, 3, -1): shaped("rot90", lambda T, x, k=k: T.rot90(x, k, (0, 1)), 2)
shaped("repeat", lambda T, x: x.repeat(*([2] * x.ndim)), 1); shaped("repeat", lambda T, x: x.repeat(2, *([1] * x.ndim))); shaped("repeat", lambda T, x: x.repeat(0, 3), 1, 2)
shaped("tile", lambda T, x: T.tile(x, (2,))); shaped("tile", lambda T, x: x.tile(2, 1, 3)); with_axis("repeat_interleave", lambda T, x, a, b: T.repeat_interleave(x, 2, a)); shaped("repeat_interleave", lambda T, x: x.repeat_interleave(3))
case("repeat_interleave", lambda T, x, r: x.repeat_interleave(r, 0), lambda d: [d.leaf((3, 2)), np.array([2, 0, 1])])
for name in ("tril", "triu"):
    shaped(name, lambda T, x, name=name: getattr(T, name)(x), 2, nan=False)
    case(name, lambda T, x, k, name=name: getattr(x, name)(k), lambda d: [d.leaf(d.shape(2)), d.integer(-2, 2)])
case("diagonal", lambda T, x, k: T.diagonal(x, k), lambda d: [d.leaf(d.shape(2, least=2)), d.integer(-1, 1)]); case("diagonal", lambda T, x: x.diagonal(0, -1, 0) * 2, lambda d: [d.leaf(d.shape(2))])
case("diag_embed", lambda T, x, k: T.diag_embed(x, k), lambda d: [d.leaf(d.shape(1, 2)), d.integer(-2, 2)]); case("diag_embed", lambda T, x: x.diag_embed(0, 0, 2), lambda d: [d.leaf(d.shape(2, 2))])
shaped("diag", lambda T, x: T.diag(x), 1, 2, 1); shaped("trace", lambda T, x: x.trace(), 2, 2)


# ---- reading and writing by index ------------------------------------------------------------------------------

INDICES = [0, -1, slice(None), slice(1, None), slice(None, None, 2), (slice(None), 0), (Ellipsis, None), (None, 1, Ellipsis, slice(0, 2)), (Ellipsis, -1),
           np.array([2, 0, 2]), (np.array([[0, 1], [1, 1]]), slice(None)), (slice(None), np.array([1, 1, 0])), (np.array([0, 1, 1]), np.array([2, 2, 0])), [0, 2], np.array([True, False, True]), (np.array([1]), 0)]
def _each(T, i): return T.tensor(i) if isinstance(i, np.ndarray) else tuple(_each(T, j) for j in i) if isinstance(i, tuple) else i
for i in INDICES: case("getitem", lambda T, x, i=i: x[_each(T, i)], lambda d: [d.leaf((3, 3, 2))])
case("getitem", lambda T, x, m: x[m], lambda d: (lambda s: [d.leaf(s), d.mask(s)])(d.shape(1)))
def _write(T, x, v, i):
    y = x * 1
    y[_each(T, i)] = v
    return y
for i in INDICES[:9] + [np.array([2, 0]), (slice(None), np.array([2, 0])), np.array([True, False, True])]: case("index_put", lambda T, x, v, i=i: _write(T, x, v, i), lambda d: [d.leaf((3, 3, 2)), d.leaf(())])
case("index_put", lambda T, x, v: _write(T, x, v, np.array([2, 0])), lambda d: [d.leaf((3, 2)), d.leaf((2, 2))])
def _into_views(T, x, v):
    y = x * 2
    z = y[1:].transpose(0, 1)
    z[0].mul_(v)
    return y * y, z
case("view_scatter", _into_views, lambda d: [d.leaf((3, 2)), d.leaf((2,))])
case("view_scatter", lambda T, x, v: _write(T, x, v, (slice(1, None), 0)), lambda d: [d.leaf((3, 2)), d.leaf((d.pick([1, 2]),))])
def _indexed(d, source=True):
    s = d.shape(1, 3, least=1); k = d.axis(len(s))
    i = tuple(d.integer(1, n) if j != k % len(s) else d.integer(1, 4) for j, n in enumerate(s))
    return [d.leaf(s), k, d.index(i, s[k])] + ([d.leaf(i)] if source else [])
def _once(d):
    "The same, but no two entries go to one place."
    s = d.shape(1, 3, least=1); k = d.axis(len(s))
    i = np.argsort(d.rng.random(s), k)[tuple(slice(0, d.integer(1, n)) for n in s)]
    return [d.leaf(s), k, i, d.leaf(i.shape)]
case("gather", lambda T, x, k, i: T.gather(x, k, i), lambda d: _indexed(d, False)); case("gather", lambda T, x, i: x.gather(-1, i), lambda d: [d.leaf((2, 3)), d.index((2, 5), 3)])
case("scatter_add", lambda T, x, k, i, v: T.scatter_add(x, k, i, v), _indexed); case("scatter", lambda T, x, k, i, v: x.scatter(k, i, v), _once); case("scatter", lambda T, x, k, i, v: T.scatter(x, k, i, 2.5), _once)
for how in ("sum", "mean", "amax", "amin"):
    for own in (True, False): case("scatter_reduce", lambda T, x, k, i, v, how=how, own=own: T.scatter_reduce(x, k, i, v, how, include_self=own), lambda d: _apart(_indexed(d)), nan=False)
def _apart(xs): # no value of x equals one of src
    return [Leaf(xs[0].a.astype("f8") * 1.01 + .003)] + xs[1:]
def _selected(d):
    s = d.shape(1, 3, least=1); k = d.axis(len(s))
    return [d.leaf(s), k, d.index(d.integer(0, 4) if not d.plain else 3, s[k])]
case("index_select", lambda T, x, k, i: T.index_select(x, k, i), _selected); case("index_fill", lambda T, x, k, i: x.index_fill(k, i, 3.), _selected)
case("index_add", lambda T, x, k, i, v: T.index_add(x, k, i, v, alpha=2), lambda d: (lambda x, k, i: [x, k, i, d.leaf(x.a.shape[:k % x.a.ndim] + i.shape + x.a.shape[k % x.a.ndim + 1:])])(*_selected(d)))
case("index_copy", lambda T, x, i, v: x.index_copy(0, i, v), lambda d: [d.leaf((4, 2)), d.rng.permutation(4)[:3], d.leaf((3, 2))])
case("take", lambda T, x, i: T.take(x, i), lambda d: [d.leaf((2, 3)), d.index(d.shape(), 6)])
case("take_along_dim", lambda T, x, i: T.take_along_dim(x, i, 1), lambda d: [d.leaf((3, 4)), d.index((d.pick([1, 3]), 2), 4)]); case("take_along_dim", lambda T, x, i: x.take_along_dim(i), lambda d: [d.leaf((3, 4)), d.index((5,), 12)])
with_axis("narrow", lambda T, x, a, b: T.narrow(x, a, 1, x.shape[a] - 1), least=1); with_axis("select", lambda T, x, a, b: T.select(x, a, -1), least=1)


# ---- linear algebra --------------------------------------------------------------------------------------------

def _products(d):
    b, n, k, m = d.shape(0, 1, least=1), *(d.integer(1 if d.plain else 0, 3) for _ in range(3))
    x, y = d.pick([((n, k), (k, m)), ((k,), (k, m)), ((n, k), (k,)), ((k,), (k,)), (b + (n, k), (k, m)), ((2, 1, n, k), b + (k, m)), (b + (n, k), (k,)), ((k,), b + (k, m)), ((n, k), b + (k, m))])
    return [d.leaf(x), d.leaf(y)]
case("matmul", lambda T, x, y: T.matmul(x, y), _products); case("matmul", lambda T, x, y: x @ y, _products)
def sizes(*spec):
    "Leaves whose shapes are spelled in letters."
    def sample(d):
        n = {c: d.integer(1 if d.plain else 0, 3) for c in "".join(spec)}
        return [d.leaf(tuple(n[c] for c in s)) for s in spec]
    return sample
case("mm", lambda T, x, y: T.mm(x, y), sizes("nk", "km")); case("bmm", lambda T, x, y: x.bmm(y), sizes("bnk", "bkm")); case("mv", lambda T, x, y: T.mv(x, y), sizes("nk", "k")); case("dot", lambda T, x, y: x.dot(y), sizes("k", "k"))
case("vdot", lambda T, x, y: T.vdot(x, y), sizes("k", "k")); case("outer", lambda T, x, y: T.outer(x, y), sizes("n", "m")); case("ger", lambda T, x, y: T.outer(y, x), sizes("n", "m")); case("inner", lambda T, x, y: T.inner(x, y), sizes("nk", "mk"))
case("addmm", lambda T, c, x, y: T.addmm(c, x, y, beta=.5, alpha=2), sizes("nm", "nk", "km")); case("addmm", lambda T, c, x, y: T.addmm(c, x, y), sizes("m", "nk", "km")); case("addmm", lambda T, c, x, y: c.addmm(x, y, beta=0), sizes("nm", "nk", "km"))
case("addmv", lambda T, c, x, y: T.addmv(c, x, y, alpha=3), sizes("n", "nk", "k")); case("baddbmm", lambda T, c, x, y: T.baddbmm(c, x, y, beta=2), sizes("bnm", "bnk", "bkm")); case("kron", lambda T, x, y: T.kron(x, y), sizes("nk", "ml"), nan=False)
case("tensordot", lambda T, x, y: T.tensordot(x, y, 2), sizes("nab", "abm")); case("tensordot", lambda T, x, y: T.tensordot(x, y, ([0, 1], [1, 0])), sizes("abn", "bam"))
for spec in ("ij,jk->ik", "bij,bjk->bik", "ij,ij->", "i,j->ij", "ij->ji", "ij->i", "ii->i", "ii", "ij,jk", "ijk,il,jm->lmk", "bhqd,bhkd->bhqk", "i,i,i->i", "ij,kj->"):
    case("einsum", lambda T, *xs, spec=spec: T.einsum(spec, *xs), sizes(*spec.split("->")[0].split(",")), nan=False)
case("einsum", lambda T, x, y: T.einsum("...ij,...jk->...ik", x, y), sizes("bij", "bjk"), nan=False); case("einsum", lambda T, x, y: T.einsum("...i,i", x, y), sizes("abi", "i"), nan=False)
for p in (1., 2., 3.): case("cdist", lambda T, x, y, p=p: T.cdist(x, y, p), lambda d: [d.leaf((d.pick([1, 2]), 3), -2, 0), d.leaf((3, 3), .1, 2)], nan=False)


# ---- what nn.functional adds -----------------------------------------------------------------------------------

case("linear", lambda T, x, w, b: T.nn.functional.linear(x, w, b), sizes("bnk", "mk", "m")); case("linear", lambda T, x, w: T.nn.functional.linear(x, w), sizes("nk", "mk"))
case("linear", lambda T, x, w, b: T.nn.functional.linear(x, w, b), sizes("k", "mk", "m"))
for name, kw in dict(leaky_relu=dict(negative_slope=.2), softplus=dict(beta=2.), elu=dict(alpha=.7), gelu={}, silu={}, hardtanh={}, hardswish={}, relu6={}, selu={}, celu=dict(alpha=.8), mish={}, softsign={}, logsigmoid={}, hardsigmoid={}).items():
    case(name, lambda T, x, name=name, kw=kw: getattr(T.nn.functional, name)(x, **kw), lambda d: [d.leaf(d.shape(), -3.5, 4)], elementwise=True, odd_slope=True, rtol=1e-6 if name in ("celu", "hardsigmoid", "selu") else 0)
case("gelu", lambda T, x: T.nn.functional.gelu(x, approximate="tanh"), lambda d: [d.leaf(d.shape())])
def _classified(d):
    n, c = d.integer(1, 4), d.integer(2, 4)
    return [d.leaf((n, c)), d.index((n,), c)]
for how in ("mean", "sum", "none"): case("pick_loss", lambda T, x, y, how=how: T.nn.functional.cross_entropy(x, y, reduction=how), _classified)
case("pick_loss", lambda T, x, y: T.nn.functional.cross_entropy(x, y, ignore_index=1), lambda d: [d.leaf((3, 4)), np.array([0, 1, 3])]); case("pick_loss", lambda T, x, y: T.nn.functional.cross_entropy(x, y, label_smoothing=.1), _classified, nan=False)
binary("huber", lambda T, x, y: T.nn.functional.huber_loss(*T.broadcast_tensors(x, y), delta=.8, reduction="none"), hi2=2.15); binary("huber", lambda T, x, y: T.nn.functional.smooth_l1_loss(*T.broadcast_tensors(x, y), reduction="none"), hi2=2.15)
case("bce", lambda T, x, y: T.nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none"), lambda d: (lambda s: [d.leaf(s), d.leaf(s, .1, .9)])(d.shape()), nan=False)
case("bce", lambda T, x, y: T.nn.functional.binary_cross_entropy(x, y, reduction="none"), lambda d: (lambda s: [d.leaf(s, .1, .9), d.leaf(s, .1, .9)])(d.shape()), nan=False)
binary("bce", lambda T, x, y: T.bce(x, y), lo=.1, hi=.9, nan=False)
def _rows_and(d, *names):
    "A leaf (..., n) with n at least 2, and vectors of length n."
    s = d.shape(0, 2, 1) + (d.integer(2, 5),)
    return [d.leaf(s, ties=False), *[d.leaf(s[-1:], .3, 2) for _ in names]]
def normed(T, name, x, *more, **kw): return getattr(T.nn.functional, name)(x, tuple(x.shape[-1:]), *more, **kw)
case("layer_norm", lambda T, x, w, b: normed(T, "layer_norm", x, w, b), lambda d: _rows_and(d, "w", "b"), nan=False); case("layer_norm", lambda T, x: normed(T, "layer_norm", x, eps=.1), _rows_and, nan=False)
case("layer_norm", lambda T, x, b: normed(T, "layer_norm", x, None, b), lambda d: _rows_and(d, "b"), nan=False); case("layer_norm", lambda T, x, w: normed(T, "rms_norm", x, w, eps=.01), lambda d: _rows_and(d, "w"), nan=False)
case("layer_norm", lambda T, x, w, b: T.nn.functional.layer_norm(x, (2, 3), w, b), lambda d: [d.leaf((d.integer(1, 3), 2, 3), ties=False), d.leaf((2, 3)), d.leaf((2, 3))], nan=False)
case("bias_act", lambda T, x, b: T.bias_act(x, b, "relu"), lambda d: [d.leaf((s := d.shape(1, 3, 1))), d.leaf(s[-1:], 4., 9.)]); case("bias_act", lambda T, x, b: T.bias_act(x, b, "gelu"), lambda d: [d.leaf((s := d.shape(1, 3, 1))), d.leaf(s[-1:])])
case("bias_act", lambda T, x, b: T.bias_act(x, b, "silu"), lambda d: [d.leaf((s := d.shape(1, 3, 1))), d.leaf(s[-1:])])
case("silu", lambda T, x: T.nn.functional.silu(x) * x, lambda d: [d.leaf(d.shape())])
case("dropout", lambda T, x: T.dropped(x, .4, 12345678901234567890), lambda d: [d.leaf(d.shape())], nan=False)
case("embedding", lambda T, w, i: T.nn.functional.embedding(i, w), lambda d: [d.leaf((4, d.integer(1, 3))), d.index(d.shape(0, 2), 4)])
case("embedding", lambda T, w, i: T.nn.functional.embedding(i, w, padding_idx=-3), lambda d: [d.leaf((4, 2)), d.index((2, 3), 4)], check=False)  # the gradient leaves out what padding_idx names, the value does not
case("embedding_grad", lambda T, r, i: T.embedding_grad(r, i, 4, 1), lambda d: [d.leaf((5, 2)), d.index((5,), 4)])


# ---- attention and the scan ------------------------------------------------------------------------------------

def _attended(*kinds):
    def sample(d):
        b, (lq, lk, n, m) = d.shape(0, 2, least=1), (d.integer(1 if d.plain else 0, 4) for _ in range(4))
        q, k, v = d.leaf(b + (lq, n)), d.leaf(b + (lk, n)), d.leaf(b + (lk, m))
        return [q, k, v, *[d.mask((lq, lk)) if kind == "bool" else d.leaf((lq, lk)) for kind in kinds]]
    return sample
def _sdpa(T, *args, **kw): return T.nn.functional.scaled_dot_product_attention(*args, **kw)
for kw in ({}, dict(is_causal=True), dict(scale=.3)): case("attention", lambda T, q, k, v, kw=kw: _sdpa(T, q, k, v, **kw), _attended(), nan=False)
for kind in ("bool", "float"): case("attention", lambda T, q, k, v, mask: _sdpa(T, q, k, v, mask), _attended(kind), nan=False)
def _recurrence(T, a, b, k, reverse):
    if hasattr(T.nn.functional, "associative_scan"): return T.nn.functional.associative_scan(a, b, k, reverse)
    a, b = T.broadcast_tensors(a, b); hs = []
    a, b = (x.unbind(k)[::-1 if reverse else 1] for x in (a, b))
    for x, y in zip(a, b): hs.append(x * (hs[-1] if hs else 0) + y)
    return T.stack(hs[::-1 if reverse else 1], k)
def _recurred(d):
    s = d.shape(1, 3, least=1, most=5); k = d.axis(len(s))
    return [d.leaf(d.part(s)), d.leaf(s), k, d.boolean()]
case("associative_scan", _recurrence, _recurred, nan=False)
