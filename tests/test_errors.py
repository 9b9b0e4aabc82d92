"""A wrong call fails at once, and the message says what it got and what it wanted: one test for the words of each."""
import re, warnings
import numpy as np
import pytest
import dlfs
from dlfs import nn, optim
from dlfs.nn import functional as F

def words(*parts):
    "A pattern for a message that holds all the parts, in this order."
    return "(?s)" + ".*".join(re.escape(p) for p in parts)

def raises(kind, *parts): return pytest.raises(kind, match=words(*parts))

x34 = dlfs.ones(3, 4)


# ---------------------------------------------------------------- shapes, dtypes and types of operations

def test_matmul():
    with pytest.raises(ValueError) as e: dlfs.ones(32, 784) @ dlfs.ones(256, 784)
    assert str(e.value) == "matmul: (32, 784) @ (256, 784): inner sizes 784 and 256 differ; did you mean W.T?"
    with pytest.raises(RuntimeError): dlfs.ones(32, 784) @ dlfs.ones(256, 784)                 # PyTorch's class, too
    with raises(ValueError, "matmul", "(2, 3)", "(4, 5)", "3", "4"): dlfs.ones(2, 3) @ dlfs.ones(4, 5)

def test_no_transpose_is_advised_where_it_would_not_help():
    with pytest.raises(ValueError) as e: dlfs.ones(2, 3) @ dlfs.ones(4, 5)
    assert "W.T" not in str(e.value)

def test_linear():
    with raises(ValueError, "(2, 3)", "4"): nn.Linear(4, 5)(dlfs.ones(2, 3))

@pytest.mark.parametrize("name, fn", [("add", lambda a, b: a + b), ("mul", lambda a, b: a * b), ("sub", lambda a, b: a - b), ("div", lambda a, b: a / b), ("maximum", dlfs.maximum)])
def test_broadcast(name, fn):
    with raises(ValueError, name, "(2, 3)", "(4,)"): fn(dlfs.ones(2, 3), dlfs.ones(4))
    with pytest.raises(RuntimeError): fn(dlfs.ones(2, 3), dlfs.ones(4))

@pytest.mark.parametrize("fn, parts", [
    (lambda: x34.reshape(5, 2), ("reshape", "(3, 4)", "(5, 2)")),
    (lambda: x34.view(7), ("(3, 4)", "7")),
    (lambda: dlfs.cat([x34, dlfs.ones(3, 5)]), ("cat", "(3, 4)", "(3, 5)")),
    (lambda: dlfs.stack([x34, dlfs.ones(3, 5)]), ("stack", "(3, 4)", "(3, 5)")),
    (lambda: x34.expand(2, 4), ("expand", "(3, 4)", "(2, 4)")),
    (lambda: x34.permute(0, 0), ("permute", "twice", "(0, 0)")),
    (lambda: dlfs.einsum("ij,jk->ik", x34, dlfs.ones(3, 2)), ("einsum", "'j'", "4", "3", "ij,jk->ik")),
], ids=["reshape", "view", "cat", "stack", "expand", "permute", "einsum"])
def test_shapes(fn, parts):
    with raises((ValueError, RuntimeError), *parts): fn()

def test_axis_out_of_range():
    for fn in (lambda: x34.sum(2), lambda: x34.softmax(5), lambda: x34.argmax(-3)):
        with pytest.raises(IndexError) as e: fn()
        assert any(c in str(e.value) for c in ("(3, 4)", "-2")), e.value

def test_item_of_many():
    with raises((ValueError, RuntimeError), "item", "(3, 4)"): x34.item()
    with pytest.raises((ValueError, RuntimeError)): bool(x34)

def test_integers_have_no_gradient():
    with raises(RuntimeError, "int64"): dlfs.tensor([1, 2], requires_grad=True)
    with raises(RuntimeError, "int64"): dlfs.tensor([1, 2]).requires_grad_()

def test_what_is_no_tensor():
    with pytest.raises(TypeError): dlfs.ones(2) + "two"
    with pytest.raises((TypeError, ValueError)): dlfs.tensor(["a"])
    with pytest.raises((TypeError, ValueError)): dlfs.tensor([[1, 2], [3]])


# ---------------------------------------------------------------- targets of losses

PAIRED = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div",
          "poisson_nll_loss", "soft_margin_loss", "hinge_embedding_loss"]
TRIPLES = ["margin_ranking_loss", "triplet_margin_loss"]
CLASSES = ["cross_entropy", "nll_loss", "multi_margin_loss"]
half = lambda *shape: dlfs.full(shape, 0.5)

@pytest.mark.parametrize("name", PAIRED + TRIPLES)
def test_losses_never_broadcast(name):
    loss = getattr(F, name)
    for a, b in [((5, 1), (5,)), ((5, 3), (3,)), ((5, 3), (1, 3)), ((4,), (5,))]:
        args = (half(*a), half(*b)) if name in PAIRED else (half(*a), half(*a), half(*b))
        with pytest.raises(ValueError) as e: loss(*args)
        assert name in str(e.value) and str(tuple(a)) in str(e.value) and str(tuple(b)) in str(e.value)

@pytest.mark.parametrize("name", PAIRED)
def test_losses_want_tensors_of_one_dtype(name):
    loss = getattr(F, name)
    with raises(TypeError, name, "ndarray"): loss(half(3), np.ones(3, "float32"))
    with raises(TypeError, name, "float32", "float64"): loss(half(3), half(3).double())
    with raises(TypeError, name, "int64"): loss(dlfs.tensor([1, 2, 3]), half(3))

@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"])
def test_probability_targets_are_floats(name):
    with raises(TypeError, name, "target", "int64"): getattr(F, name)(half(3), dlfs.tensor([0, 1, 0]))

def test_mse_advises():
    with raises(ValueError, "mse_loss", "(5, 1)", "(5,)"): F.mse_loss(dlfs.ones(5, 1), dlfs.ones(5))
    with raises(ValueError, "did you mean target.view_as(input)?"): F.l1_loss(dlfs.ones(5, 1), dlfs.ones(5))

def test_bce_range():
    with raises(ValueError, "binary_cross_entropy", "input", "[0, 1]", "1.5", "binary_cross_entropy_with_logits"): F.binary_cross_entropy(dlfs.tensor([0.2, 1.5]), half(2))
    with raises(ValueError, "binary_cross_entropy", "target", "[0, 1]", "-1"): F.binary_cross_entropy(half(2), dlfs.tensor([0.2, -1.0]))
    with raises(ValueError, "nan"): F.binary_cross_entropy(dlfs.tensor([0.2, float("nan")]), half(2))

def test_kl_range():
    with raises(ValueError, "kl_div", "negative"): F.kl_div(dlfs.zeros(2), dlfs.tensor([0.5, -0.5]), reduction="sum")

def test_gaussian_variance():
    with raises(ValueError, "gaussian_nll_loss", "var", "-1", "negative"): F.gaussian_nll_loss(half(2), half(2), dlfs.tensor([1.0, -1.0]))
    with raises(ValueError, "gaussian_nll_loss", "(2, 3)", "(4,)"): F.gaussian_nll_loss(half(2, 3), half(2, 3), half(4))

@pytest.mark.parametrize("name, args", [("soft_margin_loss", 1), ("hinge_embedding_loss", 1), ("margin_ranking_loss", 2), ("cosine_embedding_loss", 2)])
def test_signs(name, args):
    inputs = [half(2, 3) if name == "cosine_embedding_loss" else half(2)] * args
    with raises(ValueError, name, "0", "1 or -1"): getattr(F, name)(*inputs, dlfs.tensor([0.0, 1.0]))
    with raises(ValueError, name, "1 or -1"): getattr(F, name)(*inputs, dlfs.tensor([3.0, 1.0]))

def test_cosine_embedding_shapes():
    with raises(ValueError, "cosine_embedding_loss", "(2, 3)", "(2, 1)"): F.cosine_embedding_loss(half(2, 3), half(2, 3), dlfs.ones(2, 1))

@pytest.mark.parametrize("name", CLASSES)
def test_class_targets(name):
    loss, z = getattr(F, name), dlfs.zeros(3, 4)
    with raises(TypeError if name != "cross_entropy" else (TypeError, ValueError), name): loss(z, dlfs.tensor([0.0, 1.0, 2.0]))
    with raises((ValueError, IndexError), name, "4"): loss(z, dlfs.tensor([0, 4, 1]))
    with raises((ValueError, IndexError), name, "-1"): loss(z, dlfs.tensor([0, -1, 1]))
    with raises(ValueError, name, "(3, 4)", "(2,)"): loss(z, dlfs.tensor([0, 1]))
    with raises(ValueError, name, "(3, 4)", "(3, 1)"): loss(z, dlfs.tensor([[0], [1], [2]]))
    with raises(ValueError, name, "weight", "(3,)", "4"): loss(z, dlfs.tensor([0, 1, 2]), weight=dlfs.ones(3))

@pytest.mark.parametrize("name", CLASSES)
def test_class_targets_are_no_booleans(name):
    with raises(TypeError, name, "bool"): getattr(F, name)(dlfs.zeros(2, 2), dlfs.tensor([True, False]))

def test_one_hot():
    with raises(ValueError, "one_hot", "3"): F.one_hot(dlfs.tensor([0, 3]), 3)
    with raises(TypeError, "one_hot", "float32"): F.one_hot(dlfs.tensor([0.0]))

def test_reduction():
    with raises(ValueError, "average", "mean"): F.l1_loss(half(2), half(2), reduction="average")

ints = dlfs.tensor([1, 2, 3])
REFUSED = [  # (what is called, the class of the error, words of its message)
    (lambda: F.linear(x34, dlfs.ones(5, 4), dlfs.ones(4)), ValueError, ("linear", "bias", "(4,)", "(5,)")),
    (lambda: F.linear(x34, dlfs.ones(5, 4).double()), (TypeError, RuntimeError), ("linear", "float32", "float64")),
    (lambda: F.dropout(x34, -0.1), ValueError, ("dropout", "0 and 1", "-0.1")),
    (lambda: F.mse_loss(half(3), [0.0, 1.0, 2.0]), TypeError, ("mse_loss", "target", "list")),
    (lambda: F.cross_entropy(x34, [0, 1, 2]), TypeError, ("cross_entropy", "target", "list")),
    (lambda: F.cross_entropy(dlfs.tensor([[1, 2]]), dlfs.tensor([0])), TypeError, ("cross_entropy", "input", "int64", "floating")),
    (lambda: F.cross_entropy(dlfs.tensor(1.0), dlfs.tensor(0)), ValueError, ("cross_entropy", "axis of classes")),
    (lambda: F.cross_entropy(x34, dlfs.tensor([0, 1, 2]), label_smoothing=1.5), ValueError, ("label_smoothing", "1.5")),
    (lambda: F.cross_entropy(x34, x34.double()), TypeError, ("cross_entropy", "float32", "float64")),
    (lambda: F.nll_loss(x34, [0, 1, 2]), TypeError, ("nll_loss", "target", "list")),
    (lambda: F.nll_loss(dlfs.tensor([[1, 2]]), dlfs.tensor([0])), TypeError, ("nll_loss", "input", "int64", "floating")),
    (lambda: F.nll_loss(dlfs.tensor(1.0), dlfs.tensor(0)), ValueError, ("nll_loss", "axis of classes")),
    (lambda: F.nll_loss(x34, dlfs.tensor([0, 1])), ValueError, ("nll_loss", "(3, 4)", "(2,)", "wanted class numbers of shape (3,)")),
    (lambda: F.l1_loss(ints, ints), TypeError, ("l1_loss", "input", "int64", "floating")),
    (lambda: F.l1_loss(half(3), half(3) > 0), TypeError, ("l1_loss", "target", "bool")),
    (lambda: F.smooth_l1_loss(half(3), half(3), beta=-1.0), ValueError, ("smooth_l1_loss", "beta", "-1")),
    (lambda: F.multi_margin_loss(dlfs.ones(2, 3, 4), dlfs.zeros(2, 4).long()), ValueError, ("multi_margin_loss", "(2, 3, 4)")),
    (lambda: F.multi_margin_loss(x34, dlfs.tensor([0, 1, 2]), p=3), ValueError, ("multi_margin_loss", "p", "3", "1 or 2")),
    (lambda: F.multi_margin_loss(x34, dlfs.tensor([0, -100, 2])), (ValueError, IndexError), ("multi_margin_loss", "-100")),
    (lambda: F.triplet_margin_loss(x34, x34, x34, margin=0.0), ValueError, ("triplet_margin_loss", "margin", "0", "positive")),
    (lambda: F.one_hot(dlfs.zeros(0).long()), ValueError, ("one_hot", "num_classes")),
    (lambda: F.gelu(x34, approximate="tan"), ValueError, ("gelu", "'tan'")),
    (lambda: F.hardtanh(x34, 2.0, 1.0), ValueError, ("hardtanh", "2", "1")),
    (lambda: F.prelu(x34, dlfs.ones(3)), ValueError, ("prelu", "3", "(3, 4)", "4")),
    (lambda: F.softmax(x34), TypeError, ("softmax", "dim")),
]
@pytest.mark.parametrize("i", range(len(REFUSED)))
def test_refused(i):
    call, kind, parts = REFUSED[i]
    with raises(kind, *parts): call()

def test_bilinear():
    with raises(ValueError, "bilinear", "(2, 3)", "(2, 4)", "(5, 4, 3)"): F.bilinear(dlfs.ones(2, 3), dlfs.ones(2, 4), dlfs.ones(5, 4, 3))


# ---------------------------------------------------------------- the graph

def test_backward_of_many():
    y = dlfs.ones(3, requires_grad=True) * 2
    with raises(RuntimeError, "backward", "scalar", "(3,)"): y.backward()

def test_backward_gradient_of_other_shape():
    y = dlfs.ones(3, requires_grad=True) * 2
    with raises((ValueError, RuntimeError), "(2,)", "(3,)"): y.backward(dlfs.ones(2))

def test_backward_twice():
    x = dlfs.ones(3, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with raises(RuntimeError, "retain_graph=True"): y.backward()
    y = (x * x).sum()
    y.backward(retain_graph=True); y.backward()                        # with it, twice is well

def test_backward_of_nothing():
    with raises(RuntimeError, "backward", "does not require grad"): dlfs.ones(1).sum().backward()
    with dlfs.no_grad(): y = (dlfs.ones(1, requires_grad=True) * 2).sum()
    with raises(RuntimeError, "does not require grad"): y.backward()

def test_grad_of_what_was_not_used():
    x, z = (dlfs.ones(2, requires_grad=True) for _ in range(2))
    with raises(RuntimeError, "allow_unused"): dlfs.autograd.grad((x * 2).sum(), [x, z])

@pytest.mark.parametrize("change", [
    lambda t: t.mul_(2), lambda t: t.__setitem__(0, 5.0), lambda t: t.zero_(), lambda t: t.copy_(dlfs.ones(3))],
    ids=["mul_", "setitem", "zero_", "copy_"])
def test_in_place_change_of_a_saved_value(change):
    x = dlfs.ones(3, requires_grad=True)
    h = x * 1.5
    y = (h * h).sum()
    with dlfs.no_grad(): change(h)
    with raises(RuntimeError, "mul", "(3,)", "modified"): y.backward()
    h = x * 1.5
    y = (h * 2).sum()                                                  # needs no value of h: no complaint
    with dlfs.no_grad(): change(h)
    y.backward()

def test_in_place_change_of_a_leaf():
    x = dlfs.ones(3, requires_grad=True)
    with raises(RuntimeError, "leaf", "no_grad"): x.add_(1)
    with raises(RuntimeError, "leaf"): x[0] = 2.0

def test_an_optimiser_step_between_forward_and_backward():
    w = nn.Parameter(dlfs.ones(3))
    opt = optim.SGD([w], lr=0.1)
    y = (w * w).sum(); y.backward(retain_graph=True)
    opt.step()
    with raises(RuntimeError, "mul", "modified"): y.backward()

def test_numpy_of_what_has_a_graph():
    with raises(RuntimeError, "detach"): dlfs.ones(3, requires_grad=True).numpy()

def test_detect_anomaly_names_the_operation():
    x = dlfs.tensor([0.0, 1.0], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with dlfs.autograd.detect_anomaly():
            with raises(RuntimeError, "sqrt", "nan"): (dlfs.sqrt(x) * 0.0).sum().backward()
        (dlfs.sqrt(x) * 0.0).sum().backward()                          # outside nobody looks
    assert np.isnan(x.grad.numpy()[0])


# ---------------------------------------------------------------- modules and optimisers

def state_of(m): return {k: v.numpy().copy() for k, v in m.state_dict().items()}

@pytest.mark.parametrize("spoil, parts", [
    (lambda s: s.pop("2.bias"), ("missing", "2.bias")),
    (lambda s: s.update(stranger=dlfs.ones(1)), ("unexpected", "stranger")),
    (lambda s: s.update({"0.weight": dlfs.ones(3, 7)}), ("0.weight", "(3, 7)", "(4, 3)")),
    (lambda s: (s.pop("0.bias"), s.update(odd=dlfs.ones(1)), s.update({"2.weight": dlfs.ones(1)})), ("0.bias",)),
], ids=["missing", "unexpected", "misshapen", "all"])
def test_load_state_dict(spoil, parts):
    m = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    before = state_of(m)
    state = {k: v + 1 for k, v in m.state_dict().items()}
    spoil(state)
    with pytest.raises(RuntimeError) as e: m.load_state_dict(state)
    for p in parts: assert p.lower() in str(e.value).lower()
    assert all((before[k] == v).all() for k, v in state_of(m).items()), "a refused state_dict changed the module"

def test_load_state_dict_names_all_that_is_wrong():
    m = nn.Linear(3, 4)
    with pytest.raises(RuntimeError) as e: m.load_state_dict({"bias": dlfs.ones(5), "odd": dlfs.ones(1)})
    assert all(w in str(e.value) for w in ("weight", "odd", "(5,)", "(4,)"))

def test_misshapen_is_refused_without_strict_too():
    m = nn.Linear(3, 4)
    before = state_of(m)
    with raises(RuntimeError, "weight", "(2, 2)", "(4, 3)"): m.load_state_dict({"weight": dlfs.ones(2, 2), "bias": dlfs.ones(4)}, strict=False)
    assert all((before[k] == v).all() for k, v in state_of(m).items())

@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Adadelta"])
def test_negative_learning_rate(name):
    with raises(ValueError, "learning rate", "-0.1"): getattr(optim, name)([nn.Parameter(dlfs.ones(1))], lr=-0.1)
    opt = getattr(optim, name)([nn.Parameter(dlfs.ones(1))], lr=0.1)
    with raises(ValueError, "learning rate", "-0.1"): opt.add_param_group(dict(params=[nn.Parameter(dlfs.ones(1))], lr=-0.1))

def test_no_parameters():
    with raises(ValueError, "empty"): optim.Adam([])
    with pytest.raises(TypeError): optim.Adam(nn.Linear(1, 1).weight)

def test_loss_options():
    with raises(TypeError, "HuberLoss", "beta"): nn.HuberLoss(beta=1.0)
    with raises(ValueError, "delta", "-1"): nn.HuberLoss(delta=-1)(half(2), half(2))

def test_dropout_probability():
    with raises(ValueError, "1.5"): nn.Dropout(1.5)


# ---------------------------------------------------------------- data, training, files

from dlfs.utils.data import DataLoader, TensorDataset, random_split

def test_empty_data_set():
    with raises(ValueError, "DataLoader", "empty"): DataLoader(TensorDataset(dlfs.zeros(0, 3)), batch_size=4)
    with raises(ValueError, "DataLoader", "empty"): DataLoader([], shuffle=True)
    with raises(ValueError, "at least one"): TensorDataset()

@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_batch_size(size):
    with raises(ValueError, "DataLoader", "batch_size", "positive integer", repr(size)): DataLoader(TensorDataset(dlfs.zeros(5, 3)), batch_size=size)

def test_sizes_of_a_data_set():
    with raises(ValueError, "TensorDataset", "5", "4"): TensorDataset(dlfs.zeros(5, 3), dlfs.zeros(4))
    with raises(ValueError, "random_split", "7", "5"): random_split(TensorDataset(dlfs.zeros(5, 3)), [3, 4])

def trainer(target=1.0, loss=F.mse_loss, **kwargs):
    from dlfs.train import Trainer
    dlfs.manual_seed(0)
    model = nn.Linear(2, 1)
    y = dlfs.ones(12, 1); y[7] = target                                      # the third batch of three
    loader = DataLoader(TensorDataset(dlfs.ones(12, 2), y), batch_size=3)
    return Trainer(model, loss, optim.SGD(model.parameters(), lr=0.01), loader, progress=False, **kwargs)

@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite(value):
    t = trainer(value)
    with pytest.warns(RuntimeWarning, match=words("loss was", str(value), "step 2")): t.fit(3)
    assert t.step == 2 and np.isfinite(t.model.weight.detach().numpy()).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer().fit(2)                                                     # a healthy run says nothing

def test_nan_in_a_loss_under_detect_anomaly():
    t = trainer(loss=lambda out, y: (dlfs.log(out - out.detach() - 1) * y).mean())
    with dlfs.autograd.detect_anomaly():
        with raises(RuntimeError, "log", "nan"): t.fit(1)

def test_loader_without_batches():
    from dlfs.train import Trainer
    m = nn.Linear(1, 1)
    with raises(ValueError, "no batch"): Trainer(m, F.mse_loss, optim.SGD(m.parameters()), [], progress=False).fit(1)

@pytest.mark.parametrize("damage, parts", [
    (lambda b: b[:len(b) // 2], ("cut off",)),
    (lambda b: b[:-3] + bytes([b[-3] ^ 1]) + b[-2:], ("damaged", "checksum")),
    (lambda b: b"PK" + b, ("no safetensors file",)),
    (lambda b: b"", ("empty",)),
], ids=["truncated", "one bit", "pickle", "empty"])
def test_damaged_checkpoint(tmp_path, damage, parts):
    pytest.importorskip("safetensors")
    t = trainer(); t.fit(1); t.save(tmp_path / "a.ckpt")
    other = trainer(); other.fit(2)
    before = other.model.weight.detach().numpy().copy(), other.step
    (tmp_path / "b.ckpt").write_bytes(damage((tmp_path / "a.ckpt").read_bytes()))
    with raises(ValueError, "b.ckpt", *parts): other.load(tmp_path / "b.ckpt")
    assert (other.model.weight.detach().numpy() == before[0]).all() and other.step == before[1]
    other.load(tmp_path / "a.ckpt"); assert other.step == t.step               # the whole one is taken

def test_checkpoint_of_another_model(tmp_path):
    pytest.importorskip("safetensors")
    from dlfs.train import Trainer
    t = trainer(); t.fit(1); t.save(tmp_path / "a.ckpt")
    m = nn.Linear(3, 1)
    before = m.weight.detach().numpy().copy()
    wide = Trainer(m, F.mse_loss, optim.SGD(m.parameters()), [], progress=False)
    with raises(ValueError, "a.ckpt", "weight", "(1, 2)", "(1, 3)"): wide.load(tmp_path / "a.ckpt")
    assert (m.weight.detach().numpy() == before).all()

class Unplugged:
    "A requests that finds no network."
    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        import socket
        def refuse(*args, **kwargs): raise OSError("network is unreachable")
        self.patch.setattr(socket, "getaddrinfo", refuse); self.patch.setattr(socket.socket, "connect", refuse)
    def __exit__(self, *_): self.patch.undo()

@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_no_network(tmp_path, name):
    pytest.importorskip("pooch"); pytest.importorskip("requests")
    from dlfs import datasets
    with raises(FileNotFoundError, "download=True"): getattr(datasets, name)(tmp_path)
    with Unplugged():
        with raises(ConnectionError, "could not fetch", "train-images", "by hand"): getattr(datasets, name)(tmp_path, download=True)

def test_corrupt_download(tmp_path):
    "A server that answers with rubbish: refused, and nothing is left that a second call would take."
    pytest.importorskip("pooch"); pytest.importorskip("requests")
    import http.server, threading
    from dlfs import datasets
    class Rubbish(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.send_header("Content-Length", "7"); self.end_headers(); self.wfile.write(b"rubbish")
        def log_message(self, *_): pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rubbish)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        class Local(datasets.MNIST): mirrors = (f"http://127.0.0.1:{server.server_port}/",)
        with raises(ConnectionError, "could not fetch", "corrupt"): Local(tmp_path, download=True)
    finally: server.shutdown(); server.server_close()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]

def test_damaged_file_in_the_cache(tmp_path):
    pytest.importorskip("pooch")
    from dlfs import datasets
    folder = tmp_path / "MNIST" / "raw"; folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"half a file")
    with raises(ValueError, "train-images", "damaged", "download=True"): datasets.MNIST(tmp_path)

@pytest.mark.parametrize("content, parts", [(b"\x00\x00\x08\x01\x00\x00\x00\x05abc", ("5", "3", "truncated")), (b"GIF89a..", ("not an idx file",)), (b"\x00", ("too few",)), (b"\x1f\x8bxx", ("gzip",))])
def test_idx_files(tmp_path, content, parts):
    from dlfs.datasets import read_idx
    (tmp_path / "x").write_bytes(content)
    with raises(ValueError, "x", *parts): read_idx(tmp_path / "x")

def test_foreign_file(tmp_path):
    "load refuses what save did not write."
    pytest.importorskip("safetensors")
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 a pickle in a zip")
    with raises((ValueError, RuntimeError), "x.pt"): dlfs.load(tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError): dlfs.load(tmp_path / "nowhere.pt")


# ---------------------------------------------------------------- devices

def test_unknown_device():
    with raises((RuntimeError, ValueError), "tpu"): dlfs.ones(2, device="tpu")
    with raises((RuntimeError, ValueError), "tpu"): dlfs.ones(2).to("tpu")

@pytest.mark.skipif(dlfs.cuda.is_available() if hasattr(dlfs, "cuda") else False, reason="there is a GPU here")
def test_no_gpu():
    with raises(RuntimeError, "cuda"): dlfs.ones(2, device="cuda")
    with raises(RuntimeError, "cuda"): dlfs.ones(2).cuda()
    with raises(RuntimeError, "cuda"): nn.Linear(1, 1).to("cuda")

@pytest.mark.gpu
def test_two_devices():
    with raises((RuntimeError, ValueError), "add", "cuda", "cpu"): dlfs.ones(2) + dlfs.ones(2, device="cuda")
    with raises((RuntimeError, ValueError), "cuda", "cpu"): nn.Linear(2, 1)(dlfs.ones(1, 2, device="cuda"))
