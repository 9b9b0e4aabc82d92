"The trainer: averages, callbacks, NaN, early stopping, and checkpoints that resume to the bit or are refused."
import io, math, os, signal, subprocess, sys, textwrap, time, warnings
import numpy as np, pytest
pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st

import dlfs
from dlfs import nn, optim
from dlfs.data import DataLoader, TensorDataset, IterableDataset
from dlfs.nn import functional as F
from dlfs.train import *

pytest.importorskip("safetensors")

def data(n=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype("f4")
    return TensorDataset(dlfs.tensor(x), dlfs.tensor((x.sum(1) > 0).astype("i8")))

def net(seed=0, hidden=8, p=0.3):
    dlfs.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Dropout(p), nn.Linear(hidden, 2))

def make(seed=0, hidden=8, opt="Adam", scheduler="ExponentialLR", n=50, workers=0, own=False, **kw):
    model = net(seed, hidden)
    o = {"Adam": lambda p: optim.Adam(p, lr=0.01), "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9), "AdamW": lambda p: optim.AdamW(p, lr=0.01)}[opt](model.parameters())
    s = {"ExponentialLR": lambda: optim.lr_scheduler.ExponentialLR(o, 0.97), "CosineAnnealingLR": lambda: optim.lr_scheduler.CosineAnnealingLR(o, 50),
         "ReduceLROnPlateau": lambda: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0), None: lambda: None}[scheduler]()
    loader = DataLoader(data(n), 8, shuffle=True, num_workers=workers, generator=dlfs.Generator().manual_seed(5) if own else None)
    return Trainer(model, F.cross_entropy, o, loader, DataLoader(data(30, 1), 7), scheduler=s, progress=False, **({"metrics": {"accuracy": accuracy}} | kw))

def bits(t):
    "Every bit that matters of a trainer, as comparable values."
    arrays = []
    def walk(x):
        if hasattr(x, "detach"): x = x.detach().numpy()
        if isinstance(x, (np.ndarray, np.generic)): return [str(x.dtype), x.shape, x.tobytes()]
        if isinstance(x, dict): return {str(k): walk(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)): return [walk(v) for v in x]
        return repr(x)
    return walk(t.state_dict())

class Stop(Exception): pass
class StopAt(Callback):
    def __init__(self, step, moment="on_backward_end"): self.step = step; setattr(self, moment, self.now)
    def now(self, t):
        if t.step == self.step: raise Stop

# ---- fitting

def test_learns_and_keeps_a_history():
    t = make(n=200, scheduler=None)
    h = t.fit(20)
    assert h["epoch"] == list(range(1, 21)) and set(h) == {"epoch", "lr", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy"}
    assert h["valid_accuracy"][-1] > 0.85 > h["valid_accuracy"][0] - 0.3 and h["valid_loss"][-1] < h["valid_loss"][0]
    assert len(t.losses) == t.step == 20 * 25 and t.epoch == 20 and t.batch == 0
    assert all(len(v) == 20 for v in h.values())

def test_fit_counts_from_the_beginning():
    a = make(); a.fit(4); whole = bits(a)
    b = make(); b.fit(1); b.fit(4); b.fit(4); b.fit(2)
    assert bits(b) == whole

def test_the_same_as_a_loop_by_hand():
    t = make(scheduler=None); t.fit(3)
    model = net(); o = optim.Adam(model.parameters(), lr=0.01); loader = DataLoader(data(), 8, shuffle=True)
    for _ in range(3):
        for x, y in loader: o.zero_grad(); F.cross_entropy(model(x), y).backward(); o.step()
    for p, q in zip(t.model.parameters(), model.parameters()): assert (p.detach().numpy() == q.detach().numpy()).all()

@settings(deadline=None, max_examples=20)
@given(size=st.integers(1, 30))
def test_evaluate_weighs_batches_by_their_size(size):
    t = make(); whole = t.evaluate(DataLoader(data(30, 1), 30)); parts = t.evaluate(DataLoader(data(30, 1), size))
    assert math.isclose(whole["loss"], parts["loss"], rel_tol=1e-5) and math.isclose(whole["accuracy"], parts["accuracy"], rel_tol=1e-6)

def test_evaluate_leaves_modes_and_gradients_alone():
    t = make(); t.model.train(); t.model[2].eval()
    a, b = t.evaluate(t.valid_loader), t.evaluate(t.valid_loader)
    assert a == b and t.model.training and not t.model[2].training and all(p.grad is None for p in t.model.parameters())
    def broken(*_): raise Stop
    t.metrics = {"broken": broken}
    with pytest.raises(Stop): t.evaluate(t.valid_loader)
    assert t.model.training and not t.model[2].training

def test_accuracy():
    T = lambda a: dlfs.tensor(np.array(a))
    assert accuracy(T([[1., 2.], [3., 0.], [0., 1.]]), T([1, 1, 1])) == pytest.approx(2 / 3)
    assert accuracy(T([1.5, -2., 3.]), T([1., 1., 0.])) == pytest.approx(1 / 3)
    assert accuracy(T(np.eye(3)[None].repeat(2, 0)), T([[0, 1, 2], [0, 0, 0]])) == pytest.approx(4 / 6)

def test_schedules_move_once_an_epoch_or_once_a_step():
    a = make(scheduler="ExponentialLR"); a.fit(3); assert a.history["lr"] == pytest.approx([0.01, 0.0097, 0.01 * 0.97**2])
    b = make(scheduler="ExponentialLR", schedule="step"); b.fit(2); assert b.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.97**b.step)
    c = make(scheduler="ReduceLROnPlateau"); c.fit(3)
    with pytest.raises(ValueError, match="got 'batch'"): make(schedule="batch")

def test_several_inputs_any_iterable_and_own_forward():
    class Sum(nn.Module):
        def __init__(self): super().__init__(); self.l = nn.Linear(4, 2)
        def forward(self, a, b): return self.l(a + b)
    m = Sum(); x, y = data().tensors
    t = Trainer(m, F.cross_entropy, optim.SGD(m.parameters(), lr=0.1), [(x, x, y)], progress=False); t.fit(3); assert t.step == 3
    class Auto(Trainer):
        def forward(self, batch): out = self.model(batch["x"]); return ((out - batch["x"])**2).mean(), out, batch["x"]
    m = nn.Linear(4, 4)
    t = Auto(m, None, optim.SGD(m.parameters(), lr=0.1), [{"x": x}], device="cpu", progress=False); t.fit(30); assert t.losses[-1] < 0.7 * t.losses[0]

def test_an_empty_loader_is_named():
    with pytest.raises(ValueError, match="evaluate on gave no batch"): make().evaluate([])
    with pytest.raises(ValueError, match="training loader gave no batch"): Trainer(net(), F.cross_entropy, optim.SGD(net().parameters(), lr=1.), [], progress=False).fit(1)

def test_the_order_of_the_calls():
    seen = []
    class Spy(Callback): pass
    for m in [m for m in vars(Callback) if m.startswith("on_")]: setattr(Spy, m, lambda self, t, m=m: seen.append(m))
    make(n=16, callbacks=[Spy()]).fit(2)
    step = ["on_backward_end", "on_step_end"]
    assert seen == ["on_fit_begin"] + 2 * (["on_epoch_begin"] + 2 * step + ["on_epoch_end"]) + ["on_fit_end"]

def test_progress_bar_and_its_absence(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    out = io.StringIO(); t = make(); t.progress = out; t.fit(2)
    assert "14/14" in out.getvalue() and "valid_loss" in out.getvalue()
    monkeypatch.setitem(sys.modules, "tqdm", None); monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    t = make(); t.progress = True; t.fit(1); assert t.epoch == 1
    make().fit(1); assert capsys.readouterr() == ("", "")

def test_log_and_clip(capsys):
    clip = GradClip(0.01); t = make(callbacks=[Log(2), clip], scheduler=None, opt="SGD"); t.fit(4)
    out = capsys.readouterr().out.splitlines(); assert len(out) == 2 and out[1].startswith("epoch   4") and "valid_accuracy" in out[1]
    assert len(clip.norms) == t.step and max(clip.norms) > 0.01
    total = math.sqrt(sum(float((p.grad.numpy()**2).sum()) for p in t.model.parameters())); assert total <= 0.0101

# ---- NaN

class Poison(Callback):
    def __init__(self, step, value): self.step, self.value = step, value
    def on_step_end(self, t):
        if t.step == self.step:
            x, y = t.train_loader.dataset.tensors
            t.train_loader.dataset.tensors = (x * self.value, y)

@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_warns_names_the_step_and_stops(value):
    t = make(callbacks=[Poison(10, value)], scheduler=None)
    with pytest.warns(RuntimeWarning, match=r"loss was (nan|inf) at step 10 \(epoch 1, batch 3\)"): t.fit(5)
    assert t.step == 10 and len(t.losses) == 10 and len(t.bad_batch) == 2
    assert all(np.isfinite(p.detach().numpy()).all() for p in t.model.parameters())
    with pytest.warns(UserWarning, match="fit does nothing, since training has stopped: the loss was"): t.fit(5)
    assert t.step == 10

def test_nan_under_detect_anomaly_names_the_operation():
    t = make(scheduler=None)
    t.loss_fn = lambda z, y: (z.sum() * 0 - 1).sqrt()
    with dlfs.autograd.detect_anomaly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match="(?i)sqrt"): t.fit(1)

# ---- early stopping

def test_early_stopping_keeps_the_best():
    script = iter([3., 2., 1., 2., 1.5, 1.2, 0.5])
    class Scripted(Callback):
        order = -1
        def on_epoch_end(self, t): t.history["valid_loss"][-1] = next(script); weights.append({k: v.detach().numpy().copy() for k, v in t.model.state_dict().items()})
    weights, stop = [], EarlyStopping(patience=3)
    t = make(callbacks=[stop, Scripted()]); t.fit(50)
    assert t.epoch == 6 and stop.best_epoch == 3 and "since epoch 3" in t.stopped
    for k, v in t.model.state_dict().items(): assert (v.numpy() == weights[2][k]).all()
    assert any((weights[5][k] != weights[2][k]).any() for k in weights[0])

def test_early_stopping_modes_and_mistakes():
    stop = EarlyStopping("valid_accuracy", patience=2, mode="max", restore_best=False); make(callbacks=[stop], n=200, scheduler=None).fit(100)
    assert stop.best <= -0.7 and stop.weights is None
    with pytest.raises(ValueError, match="'valid_f1' is not in the history, which has epoch"): make(callbacks=[EarlyStopping("valid_f1")]).fit(1)
    with pytest.raises(ValueError, match="got 'up'"): EarlyStopping(mode="up")

# ---- checkpoints: exact

@settings(deadline=None, max_examples=25)
@given(opt=st.sampled_from(["Adam", "SGD", "AdamW"]), scheduler=st.sampled_from(["ExponentialLR", "CosineAnnealingLR", "ReduceLROnPlateau", None]),
       own=st.booleans(), workers=st.sampled_from([0, 2]), every=st.sampled_from([1, 3]), die=st.integers(0, 27))
def test_interrupted_anywhere_and_resumed_is_the_same_run(tmp_path_factory, opt, scheduler, own, workers, every, die):
    path = tmp_path_factory.getbasetemp() / f"resume{os.getpid()}"; path.unlink(missing_ok=True)
    kw = dict(opt=opt, scheduler=scheduler, own=own, workers=workers)
    def stop(): return EarlyStopping(patience=100)
    whole = make(**kw, callbacks=[stop()]); whole.fit(4)
    first = make(**kw, callbacks=[stop(), StopAt(die), Checkpoint(path, every_steps=every)])
    with pytest.raises(Stop): first.fit(4)
    dlfs.manual_seed(12345)
    again = make(seed=77, **kw, callbacks=[stop()])
    if path.exists(): again.load(path)
    else: again = make(**kw, callbacks=[stop()])
    again.fit(4)
    assert bits(again) == bits(whole)

def test_an_interrupted_trainer_itself_goes_on():
    whole = make(); whole.fit(3)
    t = make(callbacks=[StopAt(9)])
    with pytest.raises(Stop): t.fit(3)
    # the dropout mask of the interrupted step was drawn already: put the generator back to before it
    clean = make(callbacks=[StopAt(9, "on_step_end")])
    with pytest.raises(Stop): clean.fit(3)
    clean.callbacks.clear(); clean.fit(3)
    assert bits(clean)["model"] == bits(whole)["model"] and clean.step == whole.step

SCRIPT = textwrap.dedent("""
    import os, sys, time
    sys.path[:0] = sys.argv[2].split(os.pathsep)
    from test_train import *
    class Slow(Callback): # so that there is time to be killed in, in every phase of a step
        def on_backward_end(self, t): time.sleep(0.004)
        def on_step_end(self, t): print(t.step, flush=True)
    path = sys.argv[1]
    t = make(callbacks=[Slow(), EarlyStopping(patience=100), Checkpoint(path, every_steps=2)], workers=2, schedule="step")
    if os.path.exists(path): t.load(path)
    t.fit(12)
""")

def test_killed_at_random_steps_and_resumed_ends_with_the_same_bits(tmp_path):
    "SIGKILL, which no program can catch, at random moments; also while a checkpoint is being written."
    (tmp_path / "run.py").write_text(SCRIPT)
    rng = np.random.default_rng(int(time.time()))
    def run(name, kill_after=None):
        where = os.pathsep.join([os.path.dirname(__file__), *[p for p in sys.path if p]])
        p = subprocess.Popen([sys.executable, str(tmp_path / "run.py"), str(tmp_path / name), where], stdout=subprocess.PIPE, text=True)
        try:
            if kill_after is not None:
                for _ in range(kill_after):
                    if not p.stdout.readline(): break
                time.sleep(rng.uniform(0, 0.008)); p.send_signal(signal.SIGKILL)
            p.communicate(timeout=120); return p.returncode
        finally: p.kill(); p.wait()
    assert run("whole") == 0
    kills = [run("killed", int(k)) for k in rng.integers(1, 26, 3)] # 84 steps in all
    assert kills.count(-9) == 3 and run("killed") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "run.py", "whole"]   # and nothing half written is left
    a, b = (make(callbacks=[EarlyStopping(patience=100), Checkpoint("x")], schedule="step") for _ in range(2))
    a.load(tmp_path / "whole"); b.load(tmp_path / "killed")
    assert a.step == b.step == 12 * 7 and bits(a) == bits(b)

def test_an_old_checkpoint_survives_a_failed_write(tmp_path, monkeypatch):
    t = make(); t.fit(1); t.save(tmp_path / "c"); old = (tmp_path / "c").read_bytes()
    t.fit(2)
    def full(*_): raise OSError("disk full")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"): t.save(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == old
    monkeypatch.undo(); make().load(tmp_path / "c"); t.save(tmp_path / "deep" / "er" / "c")
    assert (tmp_path / "deep" / "er" / "c").exists()

def test_best_checkpoint(tmp_path):
    t = make(n=200, scheduler=None, callbacks=[Checkpoint(tmp_path / "best", monitor="valid_loss")]); h = t.fit(15)
    again = make(n=200, scheduler=None); again.load(tmp_path / "best")
    assert again.epoch == h["epoch"][int(np.argmin(h["valid_loss"]))]

# ---- checkpoints: refused, and nothing touched

@pytest.fixture
def saved(tmp_path):
    t = make(); t.fit(1); t.save(tmp_path / "c"); return tmp_path / "c"

def refused(t, path, words):
    before, rng = bits(t), dlfs.array.default_generator.get_state()
    with pytest.raises((ValueError, OSError), match=words) as e: t.load(path)
    assert bits(t) == before and "\n" not in str(e.value) and str(path) in str(e.value)

def test_truncated_anywhere(saved):
    whole, t, rng = saved.read_bytes(), make(), np.random.default_rng(1)
    for k in [0, 1, 7, 8, 9, len(whole) - 1, *rng.integers(10, len(whole), 20)]:
        saved.write_bytes(whole[:k]); refused(t, saved, "cut off|damaged|no safetensors|empty")

def test_flipped_bits(saved):
    whole, t, rng = saved.read_bytes(), make(), np.random.default_rng(1)
    for k in rng.integers(0, len(whole), 60):
        saved.write_bytes(whole[:k] + bytes([whole[k] ^ 1 << int(rng.integers(8))]) + whole[k + 1:])
        refused(t, saved, "c: ")

def test_foreign_files(tmp_path):
    import pickle, zipfile
    from safetensors.numpy import save
    t = make(); f = tmp_path / "f"
    for raw, words in ((pickle.dumps({"model": 1}), "pickle"), (b"<html>", "no safetensors"), (b"\x93NUMPY" + bytes(90), "no safetensors"),
                       (save({"w": np.ones(3)}), "not the state of a Trainer")):
        f.write_bytes(raw); refused(t, f, words)
    with zipfile.ZipFile(f, "w") as z: z.writestr("archive/data.pkl", "x")
    refused(t, f, "pickle")
    dlfs.save({"weights": np.ones(3)}, f); refused(t, f, "not the state of a Trainer")
    refused(t, tmp_path / "nowhere", "nowhere")
    refused(t, tmp_path, "(?i)director|permission")

def test_of_another_model_or_optimiser(saved):
    refused(make(hidden=9), saved, r"0.weight is \(8, 4\) .* there and \(9, 4\) .* in this model")
    refused(make(opt="SGD"), saved, "of optimiser Adam and schedule ExponentialLR, here are SGD")
    refused(make(scheduler=None), saved, "here are Adam and NoneType")
    refused(make(n=40), saved, "50 samples, this one has 40")
    t = make(); t.model.double(); refused(t, saved, "0.weight is .*float32 there and .*float64")
    t = make(); t.model.add_module("more", nn.Linear(2, 2)); refused(t, saved, "missing .*more.weight.* unexpected nothing")
    t = make(); t.optimizer.add_param_group({"params": [nn.Parameter(dlfs.zeros(3))]}); refused(t, saved, r"groups have \[4\] parameters there and \[4, 1\] here")

def test_a_failure_half_way_through_is_undone(saved):
    class Bad(Callback):
        fail = False
        def load_state_dict(self, state):
            if self.fail: self.fail = False; raise KeyError("surprise")
    t = make(callbacks=[Bad()]); t.fit(2); t.save(saved); t.fit(3); t.callbacks[0].fail = True
    refused(t, saved, "surprise")
