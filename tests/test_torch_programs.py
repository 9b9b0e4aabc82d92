"""Programs in PyTorch's idiom, run unchanged by PyTorch and, after `dlfs.as_torch()`, by dlfs. They must print the same numbers.

Initial values come from NumPy, since the two libraries' random numbers differ.
"""
import importlib.util, json, os, re, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {}
def program(tolerance=1e-8, **_):
    def add(fn): PROGRAMS[fn.__name__] = (fn.__doc__, tolerance)
    return add


@program()
def mlp_with_loader():
    '''
import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import TensorDataset, DataLoader, random_split
import torch.nn.functional as F

class MLP(nn.Module):
    def __init__(self, sizes, p=0.0):
        super().__init__()
        layers = []
        for i, o in zip(sizes[:-1], sizes[1:]):
            layers += [nn.Linear(i, o), nn.ReLU(), nn.Dropout(p)]
        self.net = nn.Sequential(*layers[:-2])

    def forward(self, x):
        return self.net(x.flatten(1))

rng = np.random.default_rng(0)
X = torch.from_numpy(rng.normal(size=(96, 2, 4)))
y = (X.sum(dim=(1, 2)) > 0).long() + (X[:, 0].sum(-1) > 1).long()
data = TensorDataset(X, y)
loader = DataLoader(data, batch_size=16, shuffle=False, drop_last=False)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = MLP([8, 16, 16, 3]).double().to(device)
with torch.no_grad():
    for p in model.parameters():
        p.copy_(torch.from_numpy(rng.normal(size=p.shape) * 0.3))
criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
optimizer = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05)
scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-2, total_steps=8 * len(loader))
for epoch in range(8):
    model.train()
    running, correct = 0.0, 0
    for inputs, labels in loader:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        running += loss.item() * inputs.size(0)
        correct += (outputs.argmax(dim=1) == labels).sum().item()
    print(epoch, running / len(data), correct / len(data), float(norm), scheduler.get_last_lr()[0])
model.eval()
with torch.no_grad():
    p = F.softmax(model(X), dim=1)
print(p.max(dim=1).values.mean().item(), p.topk(2, dim=1).indices[:, 1].sum().item())
'''

@program()
def custom_function():
    '''
import numpy as np
import torch
from torch.autograd import Function, gradcheck

class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        y, = ctx.saved_tensors
        return g * y

class ClampedLinear(Function):
    @staticmethod
    def forward(ctx, x, w, limit):
        ctx.save_for_backward(x, w)
        ctx.limit = limit
        return (x @ w).clamp(-limit, limit)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        inside = ((x @ w).abs() <= ctx.limit).to(g.dtype)
        g = g * inside
        gx = g @ w.t() if ctx.needs_input_grad[0] else None
        gw = x.t() @ g if ctx.needs_input_grad[1] else None
        return gx, gw, None

class Straight(Function):
    @staticmethod
    def forward(ctx, x):
        return torch.sign(x)
    @staticmethod
    def backward(ctx, g):
        return g.clone()

rng = np.random.default_rng(0)
x = torch.tensor(rng.normal(size=(4, 3)), requires_grad=True)
w = torch.tensor(rng.normal(size=(3, 2)), requires_grad=True)
out = Exp.apply(ClampedLinear.apply(x, w, 1.5)).sum() + Straight.apply(x).mean()
out.backward()
print(out.item(), *x.grad.flatten().tolist(), *w.grad.flatten().tolist())
print(gradcheck(Exp.apply, (x.detach().clone().requires_grad_(),)))
g, = torch.autograd.grad(Exp.apply(x).sum(), x, create_graph=True)
h, = torch.autograd.grad((g ** 2).sum(), x)
print(*h.view(-1).tolist())
'''

@program()
def gradient_penalty_and_physics():
    '''
import numpy as np
import torch
import torch.nn as nn

# u'' + u = 0, u(0) = 0, u'(0) = 1: a network that learns the sine from its equation
rng = np.random.default_rng(1)
net = nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 1)).double()
for p in net.parameters():
    p.data = torch.from_numpy(rng.normal(size=tuple(p.shape)) * 0.5)
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
for step in range(40):
    t = torch.linspace(0, 3, 25, dtype=torch.float64).reshape(-1, 1).requires_grad_(True)
    u = net(t)
    du = torch.autograd.grad(u, t, grad_outputs=torch.ones_like(u), create_graph=True)[0]
    ddu = torch.autograd.grad(du.sum(), t, create_graph=True)[0]
    residual = ((ddu + u) ** 2).mean()
    boundary = u[0, 0] ** 2 + (du[0, 0] - 1) ** 2
    loss = residual + boundary
    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    if step % 8 == 0:
        print(step, residual.item(), boundary.item())

# a critic whose slope should be one (WGAN-GP)
critic = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1)).double()
for p in critic.parameters():
    nn.init.constant_(p, 0.1)
    with torch.no_grad():
        p += torch.from_numpy(rng.normal(size=tuple(p.shape)))
real, fake = (torch.from_numpy(rng.normal(size=(6, 2)) + s) for s in (0, 3))
eps = torch.from_numpy(rng.uniform(size=(6, 1)))
mixed = (eps * real + (1 - eps) * fake).requires_grad_()
grads = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)[0]
penalty = ((grads.norm(2, dim=1) - 1) ** 2).mean()
loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
loss.backward()
print(loss.item(), penalty.item(), *[p.grad.norm().item() for p in critic.parameters()])
'''

@program()
def module_with_hooks_and_buffers():
    '''
import copy
import os
import tempfile
from collections import OrderedDict
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

class RunningNorm(nn.Module):
    def __init__(self, n, momentum=0.1):
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(n))
        self.bias = nn.Parameter(torch.zeros(n))
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("var", torch.ones(n))
        self.register_buffer("steps", torch.tensor(0, dtype=torch.long))

    def forward(self, x):
        if self.training:
            m, v = x.mean(0), x.var(0, unbiased=False)
            with torch.no_grad():
                self.mean.mul_(1 - self.momentum).add_(m, alpha=self.momentum)
                self.var.mul_(1 - self.momentum).add_(v, alpha=self.momentum)
                self.steps += 1
        else:
            m, v = self.mean, self.var
        return (x - m) / torch.sqrt(v + 1e-5) * self.weight + self.bias

class Residual(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.norm = RunningNorm(n)
        self.fc = nn.Linear(n, n)
        self.gate = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x):
        return x + self.gate * F.gelu(self.fc(self.norm(x)))

model = nn.Sequential(OrderedDict([("inp", nn.Linear(5, 6)), ("blocks", nn.Sequential(Residual(6), Residual(6))), ("out", nn.Linear(6, 2))])).double()
rng = np.random.default_rng(2)
state = model.state_dict()
print(*state.keys())
model.load_state_dict({k: torch.from_numpy(rng.normal(size=tuple(v.shape))) if v.is_floating_point() else v for k, v in state.items()})
with torch.no_grad():
    for m in model.modules():
        if isinstance(m, RunningNorm):
            m.var.copy_(m.var.abs())

norms = {}
def remember(name):
    def hook(module, args, output):
        norms[name] = output.detach().norm().item()
    return hook
handles = [m.register_forward_hook(remember(n)) for n, m in model.named_modules() if isinstance(m, (nn.Linear, Residual))]

seen = []
x = torch.from_numpy(rng.normal(size=(7, 5))).requires_grad_()
h = model.inp(x)
h.register_hook(lambda g: seen.append(g.abs().sum().item()))
h.retain_grad()
y = model.out(model.blocks(h))
F.mse_loss(y, torch.zeros_like(y)).backward()
print(*seen, h.grad.sum().item(), x.grad.sum().item())
print(*[f"{k} {v}" for k, v in sorted(norms.items())])
for hd in handles:
    hd.remove()

opt = torch.optim.SGD([{"params": [p for n, p in model.named_parameters() if "weight" in n], "weight_decay": 0.1},
                       {"params": [p for n, p in model.named_parameters() if "weight" not in n]}], lr=0.01, momentum=0.9)
for _ in range(5):
    opt.zero_grad()
    F.smooth_l1_loss(model(x.detach()), torch.ones(7, 2, dtype=torch.float64)).backward()
    opt.step()
frozen = copy.deepcopy(model).eval()
for p in frozen.parameters():
    p.requires_grad_(False)
print(frozen(x).sum().item(), model.blocks[0].norm.steps.item(), sum(p.numel() for p in model.parameters() if p.requires_grad))

path = os.path.join(tempfile.mkdtemp(), "model.pt")
torch.save(model.state_dict(), path)
other = copy.deepcopy(model)
with torch.no_grad():
    for p in other.parameters():
        p.zero_()
print(other.eval()(x).sum().item())
other.load_state_dict(torch.load(path))
print(other(x).sum().item(), all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), model.state_dict().values())))
print(*[n for n, _ in model.named_children()], len(list(model.modules())), model.training)
'''

@program()
def regression_by_hand():
    '''
import numpy as np
import torch

rng = np.random.default_rng(3)
x = torch.from_numpy(rng.normal(size=(50, 4)))
true_w = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
y = (torch.sigmoid(x @ true_w + 0.3) > 0.5).double()
w = torch.zeros(4, dtype=torch.float64, requires_grad=True)
b = torch.zeros(1, dtype=torch.float64, requires_grad=True)
velocity = [torch.zeros_like(p) for p in (w, b)]
for epoch in range(30):
    for i in range(0, len(x), 10):
        z = x[i:i + 10] @ w + b
        loss = (torch.log1p(torch.exp(-z.abs())) + z.clamp(min=0) - y[i:i + 10] * z).mean() + 1e-3 * w.pow(2).sum()
        loss.backward()
        with torch.no_grad():
            for p, v in zip((w, b), velocity):
                v.mul_(0.9).add_(p.grad)
                p -= 0.1 * v
                p.grad.zero_()
    if epoch % 10 == 0:
        print(epoch, loss.item(), ((x @ w + b > 0).double() == y).double().mean().item())
print(*w.tolist(), b.item(), w.is_leaf, (w * 2).is_leaf, (w * 2).requires_grad)

# ridge regression in closed form against gradient descent
A = x.T @ x + 0.1 * torch.eye(4, dtype=torch.float64)
t = x @ true_w
v = torch.zeros(4, 1, dtype=torch.float64)
for _ in range(200):
    v = v - 0.01 * (A.mm(v) - x.t().mm(t.unsqueeze(1)))
print(*v.squeeze(1).tolist())
print((x.mean(0), x.std(dim=0))[1].sum().item(), x.var().item(), torch.cat([w.detach(), b.detach()]).norm().item(), x.sort(dim=0)[0][0].sum().item())
'''

@program()
def embeddings_by_gather_and_scatter():
    '''
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

class Recommender(nn.Module):
    def __init__(self, users, items, d):
        super().__init__()
        self.users = nn.Parameter(torch.zeros(users, d, dtype=torch.float64))
        self.items = nn.Parameter(torch.zeros(items, d, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(items, dtype=torch.float64))
        self.scale = nn.ParameterList([nn.Parameter(torch.ones(1, dtype=torch.float64)) for _ in range(2)])

    def forward(self, u, i):
        e = self.users[u] * self.scale[0]
        f = self.items.index_select(0, i) * self.scale[1]
        return (e * f).sum(-1) + self.bias.gather(0, i)

rng = np.random.default_rng(4)
model = Recommender(6, 8, 3)
for p in (model.users, model.items):
    nn.init.zeros_(p)
    p.data += torch.from_numpy(rng.normal(size=tuple(p.shape)))
u = torch.from_numpy(rng.integers(0, 6, size=40))
i = torch.from_numpy(rng.integers(0, 8, size=40))
stars = torch.from_numpy(rng.integers(0, 2, size=40)).double()
opt = torch.optim.Adagrad(model.parameters(), lr=0.1)
for epoch in range(20):
    opt.zero_grad()
    loss = F.binary_cross_entropy_with_logits(model(u, i), stars, pos_weight=torch.tensor(1.5, dtype=torch.float64))
    loss.backward()
    opt.step()
print(loss.item(), model.users.grad.abs().sum().item(), *model.bias.tolist())

# one round of messages on a graph: sum over neighbours, mean by degree, attention by softmax over a mask
src, dst = torch.tensor([0, 1, 2, 3, 3, 4, 5]), torch.tensor([1, 2, 0, 0, 4, 3, 3])
h = model.users.detach().clone().requires_grad_()
msg = torch.zeros_like(h).scatter_add(0, dst.unsqueeze(1).expand(-1, 3), h[src])
deg = torch.zeros(6, dtype=torch.float64).scatter_add(0, dst, torch.ones(7, dtype=torch.float64)).clamp(min=1)
mean = msg / deg[:, None]
mask = torch.zeros(6, 6, dtype=torch.bool)
mask[dst, src] = True
mask |= torch.eye(6).bool()
scores = torch.einsum("id,jd->ij", h, mean) / 3 ** 0.5
att = scores.masked_fill(~mask, float("-inf")).softmax(-1)
out = torch.where(mask.any(1, keepdim=True), att @ h, torch.zeros_like(h))
(out ** 2).sum().backward()
print(out.sum().item(), *h.grad.flatten().tolist())
onehot = F.one_hot(i, num_classes=8)
print(onehot.sum(0).tolist(), F.cosine_similarity(h[0:1], h, dim=-1).sum().item(), F.normalize(h, dim=1).sum().item())
top = (model.users @ model.items.T).topk(3, dim=1)
print(*top.indices.flatten().tolist(), top.values.sum().item())
'''

@program()
def learning_to_learn():
    '''
import numpy as np
import torch

# MAML on sine waves: the outer gradient goes through the inner gradient steps
rng = np.random.default_rng(5)
shapes = [(16, 1), (16,), (1, 16), (1,)]
theta = [torch.from_numpy(rng.normal(size=s) * 0.5).requires_grad_(True) for s in shapes]
log_lr = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)

def net(x, p):
    return torch.tanh(x @ p[0].t() + p[1]) @ p[2].t() + p[3]

outer = torch.optim.Adam(theta + [log_lr], lr=0.01)
for it in range(10):
    outer.zero_grad()
    total = 0.0
    for task in range(3):
        amp, phase = rng.uniform(0.5, 2), rng.uniform(0, 3)
        x = torch.from_numpy(rng.uniform(-3, 3, size=(10, 1)))
        y = amp * torch.sin(x + phase)
        fast = theta
        for _ in range(2):
            inner = ((net(x[:5], fast) - y[:5]) ** 2).mean()
            grads = torch.autograd.grad(inner, fast, create_graph=True)
            fast = [p - log_lr.exp() * g for p, g in zip(fast, grads)]
        loss = ((net(x[5:], fast) - y[5:]) ** 2).mean()
        loss.backward()
        total += loss.item()
    outer.step()
    print(it, total, log_lr.item())
print(*[p.norm().item() for p in theta], log_lr.grad.item())

# first-order variant: no graph through the inner step, and unused inputs allowed
z = torch.ones(2, dtype=torch.float64, requires_grad=True)
g = torch.autograd.grad((theta[1] ** 2).sum(), [theta[1], z], allow_unused=True)
print(g[0].sum().item(), g[1] is None)
'''

@program()
def jacobians_and_hessians():
    '''
import numpy as np
import torch
from torch.autograd.functional import jacobian, hessian, vjp, jvp, hvp

rng = np.random.default_rng(6)
A = torch.from_numpy(rng.normal(size=(3, 4)))
x = torch.from_numpy(rng.normal(size=4))
f = lambda x: torch.tanh(A @ x) * x[:3].exp()
rosenbrock = lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
J = jacobian(f, x)
H = hessian(rosenbrock, x)
print(tuple(J.shape), *J.flatten().tolist())
print(tuple(H.shape), *H.flatten().tolist(), torch.allclose(H, H.T))
out, pull = vjp(f, x, torch.ones(3, dtype=torch.float64))
print(*out.tolist(), *pull.tolist())
out, push = jvp(f, x, torch.ones(4, dtype=torch.float64))
print(*push.tolist(), torch.allclose(push, J.sum(1)))
value, hv = hvp(rosenbrock, x, torch.arange(4, dtype=torch.float64))
print(value.item(), *hv.tolist())
g = lambda a, b: torch.outer(a, b).sin()
Ja, Jb = jacobian(g, (x, x[:2]))
print(tuple(Ja.shape), tuple(Jb.shape), Ja.sum().item(), Jb.sum().item())

# Newton's method, with the Hessian from two calls of grad
p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
for step in range(8):
    loss = (p[0] - 1) ** 2 + 10 * (p[1] - p[0] ** 2) ** 2 + p.pow(4).sum()
    g, = torch.autograd.grad(loss, p, create_graph=True)
    H = torch.stack([torch.autograd.grad(gi, p, retain_graph=True)[0] for gi in g.unbind()])
    det = H[0, 0] * H[1, 1] - H[0, 1] * H[1, 0]
    inv = torch.stack([torch.stack([H[1, 1], -H[0, 1]]), torch.stack([-H[1, 0], H[0, 0]])]) / det
    with torch.no_grad():
        p -= inv @ g
    print(step, loss.item(), *p.tolist())
'''

@program()
def schedules_and_groups():
    '''
import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import (LambdaLR, StepLR, MultiStepLR, ExponentialLR, LinearLR, CosineAnnealingLR, OneCycleLR,
                                      SequentialLR, ReduceLROnPlateau)

def make():
    model = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 1)).double()
    for k, p in enumerate(model.parameters()):
        nn.init.constant_(p, 0.1 * (k + 1))
    return model

x = torch.from_numpy(np.random.default_rng(7).normal(size=(20, 3)))
y = x.prod(dim=1, keepdim=True) + x.cumsum(1)[:, -1:]
optimizers = {
    "sgd": lambda m: torch.optim.SGD([{"params": m[0].parameters(), "lr": 0.05}, {"params": m[2].parameters()}], lr=0.1, momentum=0.9, nesterov=True),
    "rms": lambda m: torch.optim.RMSprop(m.parameters(), lr=0.01, centered=True),
    "delta": lambda m: torch.optim.Adadelta(m.parameters()),
    "adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.05, amsgrad=True),
}
schedules = {
    "lambda": lambda o: LambdaLR(o, lr_lambda=lambda e: 0.9 ** e), "step": lambda o: StepLR(o, step_size=3, gamma=0.5),
    "multi": lambda o: MultiStepLR(o, milestones=[4, 8]), "exp": lambda o: ExponentialLR(o, gamma=0.8),
    "cosine": lambda o: CosineAnnealingLR(o, T_max=12, eta_min=1e-3),
    "warm": lambda o: SequentialLR(o, schedulers=[LinearLR(o, start_factor=0.2, total_iters=4), CosineAnnealingLR(o, T_max=8)], milestones=[4]),
}
for on, make_opt in optimizers.items():
    for sn, make_sched in schedules.items():
        model = make()
        opt = make_opt(model)
        sched = make_sched(opt)
        for epoch in range(12):
            opt.zero_grad()
            loss = nn.HuberLoss(delta=0.5)(model(x), y)
            loss.backward()
            opt.step()
            sched.step()
        print(on, sn, loss.item(), sched.get_last_lr()[0])

model = make()
opt = torch.optim.Adam(model.parameters(), lr=0.1)
plateau = ReduceLROnPlateau(opt, mode="min", factor=0.3, patience=1)
for epoch in range(15):
    def closure():
        opt.zero_grad()
        loss = nn.L1Loss()(model(x), y)
        loss.backward()
        return loss
    loss = opt.step(closure)
    plateau.step(loss.item())
    if epoch == 7:
        saved = opt.state_dict()
        opt = torch.optim.Adam(model.parameters(), lr=1.0)
        opt.load_state_dict(saved)
        plateau.optimizer = opt
print(loss.item(), opt.param_groups[0]["lr"])
'''

@program(tolerance=2e-5)
def autoencoder_in_float32():
    '''
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader, Subset, ConcatDataset, random_split

class Waves(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.x = np.sin(np.linspace(0, 6, 16)[None] * rng.uniform(0.5, 2, (n, 1)) + rng.uniform(0, 6, (n, 1))).astype("float32")
    def __len__(self):
        return len(self.x)
    def __getitem__(self, i):
        return torch.from_numpy(self.x[i]), {"row": i, "max": float(self.x[i].max())}

class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 8), nn.LeakyReLU(0.1), nn.Linear(8, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 16), nn.Unflatten(1, (4, 4)), nn.Flatten())
    def forward(self, x):
        z = self.encoder(x)
        return self.decoder(z), z

def init_weights(m):
    if isinstance(m, nn.Linear):
        n = m.weight.numel()
        with torch.no_grad():
            m.weight.copy_((torch.arange(n).float() * 2.7).sin().view_as(m.weight) / m.in_features ** 0.5)
        nn.init.zeros_(m.bias)

data = ConcatDataset([Waves(20, 0), Subset(Waves(30, 1), range(0, 30, 2))])
loader = DataLoader(data, batch_size=8, drop_last=True)
model = AutoEncoder()
model.apply(init_weights)
opt = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.99))
for epoch in range(5):
    total = 0
    for x, info in loader:
        recon, z = model(x)
        loss = nn.functional.mse_loss(recon, x) + 1e-3 * z.abs().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item()
    print(epoch, total / len(loader), info["row"].tolist(), info["max"].sum().item())
print(loss.dtype == torch.float32, len(data), len(loader), recon.shape[0], tuple(z.size()))
'''

@program()
def checkpointing_and_modes():
    '''
import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

rng = np.random.default_rng(8)
W = [torch.from_numpy(rng.normal(size=(6, 6)) / 3).requires_grad_() for _ in range(4)]
x = torch.from_numpy(rng.normal(size=(2, 6))).requires_grad_()
def block(h, w):
    return torch.relu(h @ w) + h
h = x
for w in W:
    h = checkpoint(block, h, w, use_reentrant=False)
h.logsumexp(dim=1).sum().backward()
print(*[w.grad.norm().item() for w in W], *x.grad.flatten().tolist())

print(torch.is_grad_enabled())
with torch.no_grad():
    print(torch.is_grad_enabled(), (x * 2).requires_grad)
    with torch.enable_grad():
        print((x * 2).requires_grad)
@torch.no_grad()
def predict(x):
    return x * 2
print(predict(x).requires_grad)
torch.set_grad_enabled(False); y = x * 2; torch.set_grad_enabled(True)
print(y.requires_grad, x.detach().requires_grad, x.clone().requires_grad)

t = torch.arange(24).reshape(2, 3, 4)
print(t.permute(2, 0, 1).shape[0], t.transpose(0, 2).flatten().tolist()[:6], t[..., ::2].sum().item(), t[:, None].shape[1], t[t > 20].tolist(), t.movedim(0, -1).shape[-1])
print(torch.stack([t[0], t[1]], dim=-1).shape, [tuple(c.shape) for c in torch.split(t, 2, dim=1)], [tuple(c.shape) for c in t.chunk(2, dim=2)], t.unsqueeze(0).squeeze().dim())
print(t.float().mean().item(), t.double().std().item(), t.max().item(), t.argmax().item(), t.amax(dim=(0, 2)).tolist(), t.min(dim=1).indices.flatten().tolist())
print((t % 5 == 0).sum().item(), torch.where(t > 10, t, -t).sum().item(), t.flip(0)[0, 0].tolist(), t.roll(1, dims=2)[0, 0].tolist(), torch.tril(torch.ones(3, 3)).sum().item(), torch.triu(t[0], diagonal=1).tolist())
a = torch.zeros(3, 3, dtype=torch.float64)
a[1:, 1:] = 5.0; a[0] = torch.tensor([1.0, 2.0, 3.0]); a.fill_(2.0).mul_(3).clamp_(max=5)
print(a.sum().item(), a.repeat(2, 1).shape[0], a[0].repeat_interleave(2).tolist(), torch.diagonal(a).tolist(), a.expand(2, 3, 3).shape[0], torch.isnan(a / 0 * 0).all().item())
'''


def run(programs, prelude):
    "Run each program in a fresh namespace of one new interpreter. name -> (succeeded, what it printed, or the traceback)"
    env = os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore")
    done = subprocess.run([sys.executable, "-c", prelude + DRIVER], input=json.dumps(programs), capture_output=True, text=True, timeout=300, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)

DRIVER = """
import contextlib, io, json, sys, traceback
results = {}
for name, source in json.load(sys.stdin).items():
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out): exec(compile(source, name, "exec"), {"__name__": "__main__"})
        results[name] = True, out.getvalue()
    except BaseException: results[name] = False, traceback.format_exc()
print(json.dumps(results))
"""

AS_TORCH = "import sys, dlfs; dlfs.as_torch()\n"

@pytest.fixture(scope="module")
def printed():
    sources = {name: source for name, (source, _) in PROGRAMS.items()}
    return run(sources, AS_TORCH), run(sources, "")

NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)\b")

def compare(ours, theirs, tolerance):
    "Same words, and numbers that agree."
    shape = lambda s: NUMBER.sub("#", s.replace("torch.Size(", "(").replace("])", ")").replace("([", "("))
    assert shape(ours) == shape(theirs)
    a, b = ([float(v) for v in NUMBER.findall(s)] for s in (ours, theirs))
    assert len(a) == len(b) >= 5
    for i, (x, y) in enumerate(zip(a, b)): assert x == y or x != x and y != y or abs(x - y) <= tolerance * (1 + abs(y)), f"number {i}: {x}, PyTorch's {y}"

def installed(name):
    try: return importlib.util.find_spec(name) is not None
    except ImportError: return False

@pytest.mark.skipif(not installed("torch"), reason="PyTorch is not installed")
@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, printed):
    (ok, ours), (fine, theirs) = (outputs[name] for outputs in printed)
    assert fine, theirs
    assert ok, ours
    compare(ours, theirs, PROGRAMS[name][1])

def test_the_comparison_can_fail():
    compare("a 1.0 2 3 4 5\n", "a 1.0 2 3 4 5.00000000001\n", 1e-8)
    for other in ("a 1.0 2 3 4 5.0001\n", "b 1.0 2 3 4 5\n", "a 1.0 2 3 4 nan\n", "a 1.0 2 3 4\n"):
        with pytest.raises(AssertionError): compare("a 1.0 2 3 4 5\n", other, 1e-8)

def test_as_torch_needs_no_torch():
    "With the real one blocked, the names are dlfs's, and every submodule that a program imports is there."
    ok, out = run({"names": """
import torch, torch.nn as nn, torch.nn.functional as F, torch.optim as optim, torch.utils.data, torch.autograd.functional
from torch.utils.checkpoint import checkpoint
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import StepLR
from torch.nn.parameter import Parameter
print(torch.__name__, nn.__name__, F.__name__, optim.__name__, torch.utils.data.DataLoader.__module__)
"""}, AS_TORCH)["names"]
    assert ok, out
    assert out.split() == ["dlfs", "dlfs.nn", "dlfs.nn.functional", "dlfs.optim", "dlfs.data"]
