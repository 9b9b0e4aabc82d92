"Data sets, samplers, loaders and downloads: PyTorch's semantics, reproducibility, and what is refused."
import gzip, hashlib, http.server, struct, sys, threading, time
from collections import namedtuple
import numpy as np, pytest
pytest.importorskip("hypothesis")
from hypothesis import assume, given, settings, strategies as st

import dlfs
from dlfs import datasets
from dlfs.utils.data import *

def T(a, dtype=None): return dlfs.tensor(a, dtype=dtype)

class Range(Dataset):
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __getitem__(self, i):
        if not -self.n <= i < self.n: raise IndexError(i)
        return i

class Stream(IterableDataset):
    def __init__(self, n): self.n = n
    def __iter__(self): return iter(range(self.n))

class LongStream(Stream):
    def __len__(self): return self.n

def flat(loader): return [int(v) for b in loader for v in np.atleast_1d(b.numpy())]

# ---- beside PyTorch

@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 40), size=st.integers(1, 12), drop=st.booleans(), workers=st.sampled_from([0, 0, 2]))
def test_lengths_and_order_as_in_torch(n, size, drop, workers):
    td = pytest.importorskip("torch.utils.data")
    theirs = td.DataLoader(list(range(n)), size, drop_last=drop)
    for data in (Range(n), list(range(n))):
        ours = DataLoader(data, size, drop_last=drop, num_workers=workers)
        assert len(ours) == len(theirs)
        assert [b.tolist() for b in ours] == [b.tolist() for b in theirs]
    assert list(BatchSampler(SequentialSampler(range(n)), size, drop)) == list(td.BatchSampler(td.SequentialSampler(range(n)), size, drop))

@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 40), size=st.integers(1, 12), drop=st.booleans())
def test_streams_as_in_torch(n, size, drop):
    td = pytest.importorskip("torch.utils.data")
    class Theirs(td.IterableDataset):
        def __iter__(self): return iter(range(n))
    theirs = [b.tolist() for b in td.DataLoader(Theirs(), size, drop_last=drop)]
    for workers in (0, 2):
        assert [b.tolist() for b in DataLoader(Stream(n), size, drop_last=drop, num_workers=workers)] == theirs
    assert len(DataLoader(LongStream(n), size, drop_last=drop)) == (n // size if drop else -(-n // size))
    with pytest.raises(TypeError): len(DataLoader(Stream(n), size))

Point = namedtuple("Point", "x y")

@pytest.mark.parametrize("samples", [
    [1, 2, 3], [1.5, 2.5], [True, False], ["a", "b"], [b"a", b"b"], [(1, 2.0), (3, 4.0)], [[1, 2], [3, 4]],
    [{"a": 1, "b": (2.0, "x")}, {"a": 3, "b": (4.0, "y")}], [Point(1, 2.0), Point(3, 4.0)],
    [np.float32(1), np.float32(2)], [np.int16(1), np.int16(2)], [np.arange(3), np.arange(3)], [np.ones((2, 3), "f4")] * 4,
    [(np.zeros(2, "f4"), 1, "s")] * 3, [((1, (2,)), 3)] * 2], ids=str)
def test_collate_as_in_torch(samples):
    td = pytest.importorskip("torch.utils.data")
    def same(a, b):
        if hasattr(b, "detach"):
            assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1] and tuple(a.shape) == tuple(b.shape)
            assert (a.numpy() == b.numpy()).all(); return
        assert type(a).__name__ == type(b).__name__
        if isinstance(b, dict):
            assert list(a) == list(b)
            for k in b: same(a[k], b[k])
        elif isinstance(b, (list, tuple)):
            assert len(a) == len(b)
            for p, q in zip(a, b): same(p, q)
        else: assert a == b
    same(default_collate(samples), td.default_collate(samples))

@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 200), cuts=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_random_split_sizes_as_in_torch(n, cuts):
    td = pytest.importorskip("torch.utils.data")
    fractions = [c / sum(cuts) for c in cuts]
    assume(sum(fractions) <= 1)   # torch refuses 1.0000000000000002; dlfs does not
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [len(s) for s in td.random_split(range(n), fractions)]
    parts = random_split(range(n), fractions)
    assert [len(p) for p in parts] == theirs
    assert sorted(i for p in parts for i in p) == list(range(n))

def test_fractions_may_sum_to_one_and_a_rounding_error():
    fractions = [c / 37 for c in (1, 12, 18, 3, 3)]
    assert sum(fractions) > 1 and sum(map(len, random_split(range(100), fractions))) == 100

def test_same_tree_of_names_as_torch():
    td = pytest.importorskip("torch.utils.data")
    import inspect
    ours, theirs = inspect.signature(DataLoader.__init__).parameters, inspect.signature(td.DataLoader.__init__).parameters
    assert list(ours) == [p for p in theirs if p in ours]
    for p in ("batch_size", "shuffle", "sampler", "batch_sampler", "num_workers", "collate_fn", "drop_last", "generator", "prefetch_factor"):
        assert ours[p].default == theirs[p].default and ours[p].kind == theirs[p].kind

# ---- data sets

def test_tensor_dataset_concat_subset_chain():
    d = TensorDataset(T([[0., 1.], [2., 3.], [4., 5.]]), T([7, 8, 9]))
    assert len(d) == 3 and d[1][0].tolist() == [2, 3] and int(d[-1][1]) == 9
    c = d + Subset(d, [2, 0])
    assert isinstance(c, ConcatDataset) and [int(c[i][1]) for i in range(5)] == [7, 8, 9, 9, 7] and int(c[-5][1]) == 7
    for i in (5, -6):
        with pytest.raises(IndexError): c[i]
    assert list(Stream(2) + Stream(3)) == [0, 1, 0, 1, 2] and len(ChainDataset([LongStream(2), LongStream(3)])) == 5
    assert int(Subset(Subset(d, [2, 1]), [1])[0][1]) == 8

@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 30), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_batch_at_once_is_the_same_as_one_by_one(n, size, seed):
    d = TensorDataset(T(np.arange(2. * n).reshape(n, 2), dlfs.float32), T(np.arange(n)))
    d = Subset(d, np.random.default_rng(seed).permutation(n).tolist())
    fast = DataLoader(d, size, shuffle=True, generator=dlfs.Generator().manual_seed(seed))
    slow = DataLoader(d, size, shuffle=True, generator=dlfs.Generator().manual_seed(seed), collate_fn=lambda s: default_collate(s))
    for a, b in zip(fast, slow, strict=True):
        assert type(a) is type(b) is list
        for p, q in zip(a, b, strict=True): assert p.dtype == q.dtype and (p.numpy() == q.numpy()).all() and p.shape == q.shape

def test_a_subclass_that_changes_a_sample_is_obeyed():
    class Doubled(TensorDataset):
        def __getitem__(self, i): return (super().__getitem__(i)[0] * 2,)
    d = Doubled(T([1., 2., 3.]))
    assert next(iter(DataLoader(d, 3)))[0].tolist() == [2, 4, 6]
    assert next(iter(DataLoader(Subset(d, [2, 0]), 2)))[0].tolist() == [6, 2]
    class Reversed(SequentialSampler):
        def __iter__(self): return iter(range(len(self.data_source))[::-1])
    assert flat(DataLoader(Range(4), 3, sampler=Reversed(range(4)))) == [3, 2, 1, 0]

def test_getitems_hook_and_keys_that_are_no_integers():
    class Named(Dataset):
        table = {"a": 1, "b": 2, "c": 3}
        def __len__(self): return 3
        def __getitem__(self, k): return self.table[k]
    assert flat(DataLoader(Named(), 2, sampler=["c", "a", "b"])) == [3, 1, 2]
    class Many(Range):
        def __getitems__(self, keys): assert all(type(k) is int for k in keys); return [k * 10 for k in keys]
    assert flat(DataLoader(Many(3), 2)) == [0, 10, 20]

def test_no_batching_and_own_batches():
    assert list(DataLoader(Range(3), batch_size=None)) == [0, 1, 2] and len(DataLoader(Range(3), batch_size=None)) == 3
    got = list(DataLoader([np.ones(2, "f4")], batch_size=None))[0]
    assert dlfs.is_tensor(got)
    own = DataLoader(Range(5), batch_sampler=[[4, 0], [1], [2, 3]])
    assert len(own) == 3 and [b.tolist() for b in own] == [[4, 0], [1], [2, 3]]
    def endless():
        while True: yield [0, 1]
    it = iter(DataLoader(Range(5), batch_sampler=endless(), num_workers=2))
    assert [next(it).tolist() for _ in range(5)] == [[0, 1]] * 5
    it.close()

# ---- samplers

@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 50), k=st.integers(1, 120), seed=st.integers(0, 9))
def test_random_sampler(n, k, seed):
    g = lambda: dlfs.Generator().manual_seed(seed)
    a = list(RandomSampler(range(n), generator=g()))
    assert sorted(a) == list(range(n)) and a == list(RandomSampler(range(n), generator=g())) and all(type(i) is int for i in a)
    b = list(RandomSampler(range(n), num_samples=k, generator=g()))
    assert len(b) == k == len(RandomSampler(range(n), num_samples=k))
    counts = np.bincount(b, minlength=n); assert counts.max() - counts.min() <= 1   # whole permutations, then a part
    c = list(RandomSampler(range(n), replacement=True, num_samples=k, generator=g()))
    assert len(c) == k and 0 <= min(c) and max(c) < n
    s = list(SubsetRandomSampler(range(5, 5 + n), generator=g())); assert sorted(s) == list(range(5, 5 + n))

def test_shuffling_is_uniform():
    "All 24 orders of four samples, 4800 epochs: chi-squared with 23 degrees of freedom."
    g, seen = dlfs.Generator().manual_seed(0), {}
    for _ in range(4800): k = tuple(RandomSampler(range(4), generator=g)); seen[k] = seen.get(k, 0) + 1
    assert len(seen) == 24 and sum((v - 200)**2 / 200 for v in seen.values()) < 50   # p < 0.001

def test_weighted_sampler():
    g = dlfs.Generator().manual_seed(0)
    drawn = np.bincount(list(WeightedRandomSampler([1, 0, 3], 4000, generator=g)), minlength=3) / 4000
    assert drawn[1] == 0 and abs(drawn[0] - 0.25) < 0.03
    assert sorted(WeightedRandomSampler([1., 1, 1], 3, replacement=False, generator=g)) == [0, 1, 2]

def test_kfold():
    y = np.repeat([0, 1, 2], [50, 30, 20])
    folds = kfold(y, 5, dlfs.Generator().manual_seed(0))
    assert sorted(np.concatenate([o for _, o in folds])) == list(range(100))
    for fit, out in folds:
        assert len(fit) + len(out) == 100 and not set(fit) & set(out) and np.bincount(y[out]).tolist() == [10, 6, 4]
    assert [len(o) for _, o in kfold(10, 3)] == [4, 3, 3]
    for k in (1, 11):
        with pytest.raises(ValueError, match="folds of 10"): kfold(10, k)

# ---- reproducible, with any number of threads

def test_the_seed_decides_and_threads_do_not():
    class Uneven(Range):
        def __getitem__(self, i): time.sleep(0.002 * (i % 3)); return i
    def epochs(workers, seed):
        l = DataLoader(Uneven(23), 4, shuffle=True, num_workers=workers, generator=dlfs.Generator().manual_seed(seed))
        return [flat(l), flat(l)]
    a = epochs(0, 5)
    assert a == epochs(3, 5) == epochs(1, 5) and a != epochs(0, 6) and a[0] != a[1] and sorted(a[0]) == list(range(23))
    def from_global(workers):
        dlfs.manual_seed(7); l = DataLoader(Range(23), 4, shuffle=True, num_workers=workers)
        return flat(l), float(dlfs.rand(1)[0])
    assert from_global(0) == from_global(2)

def test_an_unshuffled_loader_draws_nothing():
    dlfs.manual_seed(1); a = float(dlfs.rand(1)[0])
    dlfs.manual_seed(1); list(DataLoader(Range(9), 2)); assert float(dlfs.rand(1)[0]) == a

def test_two_iterators_of_one_loader_do_not_disturb_each_other():
    l = DataLoader(Range(6), 2)
    assert [(a.tolist(), b.tolist()) for a, b in zip(l, l)] == [([i, i + 1],) * 2 for i in (0, 2, 4)]

@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_comes_out_at_the_caller(workers):
    class Broken(Range):
        def __getitem__(self, i):
            if i == 5: raise OSError("disk on fire")
            return i
    got, it = [], iter(DataLoader(Broken(9), 2, num_workers=workers))
    with pytest.raises(OSError, match="disk on fire") as e:
        for b in it: got.append(b.tolist())
    assert got == [[0, 1], [2, 3]] and "[4, 5]" in e.value.__notes__[0]

def test_threads_end_when_the_loop_is_left():
    def ours(): return [t for t in threading.enumerate() if t.name.startswith("dlfs-loader")]
    for data in (Range(1000), Stream(1000)):
        for b in DataLoader(data, 1, num_workers=3): break
        del b
        end = time.time() + 5
        while ours() and time.time() < end: time.sleep(0.01)
        assert not ours()

def test_threads_look_ahead_but_not_too_far():
    asked = []
    class Watched(Range):
        def __getitem__(self, i): asked.append(i); return i
    it = iter(DataLoader(Watched(100), 1, num_workers=2, prefetch_factor=3)); next(it); time.sleep(0.05)
    assert 2 <= len(asked) <= 7
    it.close()

# ---- state

@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 40), size=st.integers(1, 9), drop=st.booleans(), shuffle=st.booleans(), own=st.booleans(), workers=st.sampled_from([0, 2]), data=st.data())
def test_an_epoch_resumes_anywhere(n, size, drop, shuffle, own, workers, data):
    def make(): return DataLoader(Range(n), size, shuffle=shuffle, drop_last=drop, num_workers=workers, generator=dlfs.Generator().manual_seed(3) if own else None)
    dlfs.manual_seed(4)
    l = make(); k = data.draw(st.integers(0, len(l)))
    it = iter(l); [next(it) for _ in range(k)]
    state, glob = l.state_dict(), dlfs.array.default_generator.get_state()
    rest = [b.tolist() for b in it], [b.tolist() for b in l]
    dlfs.manual_seed(99); again = make(); again.load_state_dict(state); dlfs.array.default_generator.set_state(glob)
    assert len(again.state_dict()) == len(state)
    assert ([b.tolist() for b in again], [b.tolist() for b in again]) == rest

def test_streams_resume_by_replay_and_foreign_states_are_refused():
    l = DataLoader(Stream(10), 3); it = iter(l); next(it); next(it); s = l.state_dict()
    again = DataLoader(Stream(10), 3); again.load_state_dict(s)
    assert flat(again) == [6, 7, 8, 9] and flat(again) == list(range(10))
    l = DataLoader(Range(10), 3); it = iter(l); next(it)
    with pytest.raises(ValueError, match="10 samples, this one has 9"): DataLoader(Range(9), 3).load_state_dict(l.state_dict())
    with pytest.raises(ValueError, match="no state of a DataLoader"): DataLoader(Range(9), 3).load_state_dict({})

# ---- refusals

@pytest.mark.parametrize("make, words", [
    (lambda: DataLoader([]), "data set is empty"),
    (lambda: DataLoader(Range(0), shuffle=True), "data set is empty"),
    (lambda: DataLoader(Range(3), 0), "batch_size is a positive integer.*got 0"),
    (lambda: DataLoader(Range(3), -2), "got -2"),
    (lambda: DataLoader(Range(3), 2.0), "got 2.0"),
    (lambda: DataLoader(Range(3), True), "got True"),
    (lambda: DataLoader(Range(3), shuffle=True, sampler=SequentialSampler(range(3))), "shuffle=True or a sampler, not both"),
    (lambda: DataLoader(Range(3), 2, batch_sampler=[[0]]), "batch_sampler decides everything"),
    (lambda: DataLoader(Range(3), batch_sampler=[[0]], drop_last=True), "batch_sampler decides everything"),
    (lambda: DataLoader(Range(3), None, drop_last=True), "no last one to drop"),
    (lambda: DataLoader(Range(3), num_workers=-1), "count of threads, got -1"),
    (lambda: DataLoader(Range(3), prefetch_factor=2), "num_workers > 0"),
    (lambda: DataLoader(Stream(3), shuffle=True), "has its own order"),
    (lambda: DataLoader(Stream(3), sampler=[0]), "has its own order"),
    (lambda: TensorDataset(T([1., 2.]), T([1, 2, 3])), "2, 3 rows"),
    (lambda: TensorDataset(), "at least one tensor"),
    (lambda: TensorDataset(T(1.)), "without axes"),
    (lambda: ConcatDataset([]), "at least one data set"),
    (lambda: ConcatDataset([Stream(3)]), "use ChainDataset"),
    (lambda: random_split(Range(5), [3, 3]), "sum to 6, but the data set has 5"),
    (lambda: random_split(Range(5), [0.5, 0.6]), "sum to 1.1, not 1"),
    (lambda: random_split(Range(5), [6, -1]), "must not be negative"),
    (lambda: RandomSampler(range(3), num_samples=0), "positive integer, got 0"),
    (lambda: WeightedRandomSampler([1.], 0), "positive integer, got 0"),
    (lambda: WeightedRandomSampler([[1.]], 1), r"shape \(1, 1\)"),
    (lambda: BatchSampler(range(3), 0, False), "positive integer, got 0"),
    (lambda: BatchSampler(range(3), 2, None), "drop_last is True or False"),
    (lambda: default_collate([]), "no samples"),
    (lambda: default_collate([T([1., 2.]), T([1.])]), r"samples 0 and 1 .* shapes \(2,\) and \(1,\)"),
    (lambda: default_collate([(1, 2), (1,)]), r"different lengths, \[1, 2\]"),
    (lambda: datasets.Digits("validation"), "got 'validation'"),
    (lambda: datasets.load_table("titanic"), "none of iris"),
])
def test_refused_with_a_sentence(make, words):
    with pytest.raises(ValueError, match=words): make()

def test_refused_types():
    with pytest.raises(TypeError, match="RandomSampler: replacement"): RandomSampler(range(3), replacement=1)
    with pytest.raises(TypeError, match="holds a set"): default_collate([{1}, {2}])
    with pytest.raises(TypeError, match="cannot make a tensor"): default_collate([np.array(["a"])] * 2)
    with pytest.raises(NotImplementedError, match="Nameless"): type("Nameless", (Dataset,), {})()[0]

# ---- bundled sets

def test_digits():
    pytest.importorskip("sklearn")
    train, test, both = (datasets.Digits(s) for s in ("train", "test", "all"))
    assert (len(train), len(test), len(both)) == (1442, 355, 1797)
    image, label = train[0]
    assert tuple(image.shape) == (1, 8, 8) and image.dtype == dlfs.float32 and type(label) is int and train.targets.dtype == dlfs.int64
    assert float(both.data.numpy().min()) == 0 and float(both.data.numpy().max()) == 1
    rows = lambda d: sorted(r.tobytes() for r in d.data.numpy())
    assert sorted(rows(train) + rows(test)) == rows(both)
    x, y = next(iter(DataLoader(train, 5)))
    assert tuple(x.shape) == (5, 1, 8, 8) and y.dtype == dlfs.int64 and y.tolist() == [train[i][1] for i in range(5)]
    d = datasets.Digits(transform=datasets.Compose([datasets.Normalize(0.5, 0.25), lambda v: -v]), target_transform=lambda t: t + 100)
    assert np.allclose(d[3][0].numpy(), -(train[3][0].numpy() - 0.5) / 0.25) and d[3][1] == train[3][1] + 100
    x, y = next(iter(DataLoader(d, 4))); assert np.allclose(x[3].numpy(), d[3][0].numpy()) and int(y[3]) == d[3][1]

@pytest.mark.parametrize("name, shape, dtype", [("iris", (150, 4), "int64"), ("wine", (178, 13), "int64"), ("breast_cancer", (569, 30), "int64"), ("diabetes", (442, 10), "float32")])
def test_tables(name, shape, dtype):
    pytest.importorskip("sklearn")
    x, y, names = datasets.load_table(name)
    assert tuple(x.shape) == shape and len(y) == shape[0] and str(y.dtype).endswith(dtype) and len(names) == shape[1] and x.dtype == dlfs.float32

# ---- idx files and downloads

def idx(a):
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[a.dtype.str[1:]]
    return bytes([0, 0, code, a.ndim]) + struct.pack(f">{a.ndim}I", *a.shape) + a.astype(a.dtype.newbyteorder(">")).tobytes()

@settings(deadline=None, max_examples=60)
@given(kind=st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]), shape=st.lists(st.integers(0, 4), max_size=3), zipped=st.booleans(), data=st.data())
def test_idx_round_trip_and_every_truncation_refused(tmp_path_factory, kind, shape, zipped, data):
    path = tmp_path_factory.getbasetemp() / "some.idx"
    a = np.random.default_rng(0).integers(-100 if kind != "u1" else 0, 100, shape).astype(kind)
    raw = gzip.compress(idx(a)) if zipped else idx(a)
    path.write_bytes(raw); b = datasets.read_idx(path)
    assert b.dtype == a.dtype and b.shape == a.shape and (a == b).all() and b.dtype.isnative and b.flags.writeable
    path.write_bytes(raw[:data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(ValueError, match="some.idx"): datasets.read_idx(path)
    if not zipped:
        path.write_bytes(raw + b"\0")
        with pytest.raises(ValueError, match="too long"): datasets.read_idx(path)

@pytest.mark.parametrize("raw, words", [(b"<html>", "not an idx file: it begins with 3c 68"), (b"\0\0\x07\1\0\0\0\0", "not an idx file"),
    (b"\0\0\x08\3\0\0\0\1", "promises 3 axes"), (b"\0\0\x08\1\0\0\0\5abc", "promises 5 bytes .* holds 3: truncated"), (b"\x1f\x8bgarbage", "damaged gzip")])
def test_foreign_idx_refused(tmp_path, raw, words):
    (tmp_path / "f").write_bytes(raw)
    with pytest.raises(ValueError, match=words): datasets.read_idx(tmp_path / "f")

@pytest.fixture
def shop(tmp_path, monkeypatch):
    "A file server on this machine, and a data set class that buys there."
    pytest.importorskip("pooch")
    for v in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"): monkeypatch.delenv(v, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    images, labels = np.arange(3 * 28 * 28, dtype="u1").reshape(3, 28, 28), np.array([4, 0, 9], "u1")
    files = {"images.gz": gzip.compress(idx(images), mtime=0), "labels.gz": gzip.compress(idx(labels), mtime=0)}
    md5 = {k: hashlib.md5(v).hexdigest() for k, v in files.items()}
    asked = []
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rsplit("/", 1)[-1]; asked.append(name)
            if name not in files: self.send_error(404); return
            self.send_response(200); self.send_header("Content-Length", str(len(files[name]))); self.end_headers(); self.wfile.write(files[name])
        def log_message(self, *a): pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    class Tiny(datasets.MNIST):
        mirrors = (f"http://127.0.0.1:{server.server_port}/",)
    Tiny.files = {"train": tuple(md5.items()), "test": tuple(md5.items())}
    Tiny.store, Tiny.asked = files, asked
    yield Tiny
    server.shutdown(); server.server_close()

def test_download_once(shop, tmp_path):
    d = shop(tmp_path, download=True)
    assert tuple(d.data.shape) == (3, 1, 28, 28) and d.targets.tolist() == [4, 0, 9] and abs(float(d[0][0].numpy()[0, 0, 5]) - 5 / 255) < 1e-7
    assert sorted(shop.asked) == ["images.gz", "labels.gz"] and (tmp_path / "Tiny" / "raw" / "images.gz").exists()
    shop(tmp_path); shop(tmp_path, download=True); assert len(shop.asked) == 2   # from the cache

def test_corrupt_download_is_refused_and_not_kept(shop, tmp_path):
    shop.store["images.gz"] = shop.store["images.gz"][:-9] + b"corrupted"
    with pytest.raises(ConnectionError, match=r"images.gz; tried http://127.0.0.1.*corrupt.*Put the file into .* by hand"): shop(tmp_path, download=True)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]

def test_a_damaged_file_is_named_and_fetched_again_if_allowed(shop, tmp_path):
    shop(tmp_path, download=True); f = tmp_path / "Tiny" / "raw" / "labels.gz"; f.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="labels.gz: damaged .*delete it, or pass download=True"): shop(tmp_path)
    assert shop(tmp_path, download=True).targets.tolist() == [4, 0, 9]

def test_not_there(shop, tmp_path):
    with pytest.raises(FileNotFoundError, match="pass download=True, or put images.gz there by hand"): shop(tmp_path)
    assert shop.asked == []

def test_no_network(shop, tmp_path):
    shop.mirrors = ("http://127.0.0.1:9/", "http://127.0.0.1:9/second/")
    with pytest.raises(ConnectionError) as e: shop(tmp_path, download=True)
    assert str(e.value).count("127.0.0.1:9/") == 2 and "by hand" in str(e.value) and "\n" not in str(e.value)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]

def test_by_hand(shop, tmp_path):
    folder = tmp_path / "Tiny" / "raw"; folder.mkdir(parents=True)
    for k, v in shop.store.items(): (folder / k).write_bytes(v)
    assert len(shop(tmp_path)) == 3 and shop.asked == []

def test_pooch_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match="pip install pooch"): datasets.MNIST(tmp_path, download=True)

def test_sklearn_missing(monkeypatch):
    for m in [m for m in sys.modules if m.split(".")[0] == "sklearn"]: monkeypatch.delitem(sys.modules, m)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match="digits comes with scikit-learn.*pip install scikit-learn"): datasets.Digits()

def test_signature_is_torchvisions():
    import inspect
    for c in (datasets.MNIST, datasets.FashionMNIST):
        assert list(inspect.signature(c).parameters) == ["root", "train", "transform", "target_transform", "download"]
        assert {m for part in c.files.values() for _, m in part} and all(len(m) == 32 for part in c.files.values() for _, m in part)
