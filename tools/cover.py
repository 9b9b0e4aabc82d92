"""Draw the cover: what a small network makes of handwritten digits. Writes nbs/images/cover.png. Plain NumPy, half a minute.

The network squeezes each 8x8 image through two numbers, which makes a map of everything that it knows: the colour of a place is
the digit it would answer there, the pictures are held-out digits where they land."""
from pathlib import Path
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

rng = np.random.default_rng(4)
X, y = load_digits(return_X_y=True)
X, order = X / 16, rng.permutation(len(X))
X, y = X[order], y[order]
held, train = np.arange(len(X)) < 400, np.arange(len(X)) >= 400
sizes = (64, 128, 32, 2, 10)
params = [p for i, o in zip(sizes, sizes[1:]) for p in (rng.normal(size=(i, o)) * np.sqrt(2 / i), np.zeros(o))]

def forward(x, params):
    a1 = np.maximum(x @ params[0] + params[1], 0)
    a2 = np.maximum(a1 @ params[2] + params[3], 0)
    z = a2 @ params[4] + params[5]
    z = z / np.sqrt(1 + (z * z).sum(1, keepdims=True))  # onto a disc
    return a1, a2, z, scores(z, params)

def scores(z, params): return 4 * z @ params[6] + params[7]

def softmax(s):
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)

def gradient(x, t, params):
    a1, a2, z, s = forward(x, params)
    g = softmax(s)
    g[np.arange(len(t)), t] -= 1
    g /= len(t)
    grads = [4 * z.T @ g, g.sum(0)]
    g, room = 4 * g @ params[6].T, 1 - (z * z).sum(1, keepdims=True)
    g = np.sqrt(room) * (g - z * (z * g).sum(1, keepdims=True))
    grads = [a2.T @ g, g.sum(0)] + grads
    g = g @ params[4].T * (a2 > 0)
    grads = [a1.T @ g, g.sum(0)] + grads
    g = g @ params[2].T * (a1 > 0)
    return [x.T @ g + 1e-3 * params[0], g.sum(0)] + grads

m, v = [0 * p for p in params], [0 * p for p in params]
curve, step, epochs = [], 0, 150
for epoch in range(epochs):
    rows = rng.permutation(np.flatnonzero(train))
    for batch in np.array_split(rows, len(rows) // 64):
        step += 1
        for i, g in enumerate(gradient(X[batch] + rng.normal(size=(len(batch), 64)) * 0.15, y[batch], params)):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            params[i] -= 3e-3 * (1 - epoch / epochs) * (m[i] / (1 - 0.9**step)) / (np.sqrt(v[i] / (1 - 0.999**step)) + 1e-8)
    curve.append([100 * (forward(X[k], params)[3].argmax(1) != y[k]).mean() for k in (train, held)])
curve = np.array(curve)
print(f"held-out images read wrongly: {curve[-1, 1]:.1f} %")

plt.rcParams.update({"font.family": "sans-serif", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
fig = plt.figure(figsize=(10, 5.2), dpi=110)
grid = fig.add_gridspec(2, 2, width_ratios=(1.25, 1), height_ratios=(1.45, 1), left=0.012, right=0.985, top=0.94, bottom=0.09, wspace=0.07, hspace=0.3)

ax = fig.add_subplot(grid[:, 0])
side = np.linspace(-1.06, 1.06, 500)
plane = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
p = softmax(scores(plane, params))
hues = plt.get_cmap("tab10")(np.arange(10))[:, :3]
sure = np.clip((p.max(1, keepdims=True) - 0.35) / 0.65, 0, 1) ** 1.5
image = 1 - sure * (1 - (0.42 * hues[p.argmax(1)] + 0.58))
ax.imshow(image.reshape(500, 500, 3), origin="lower", extent=(-1.06, 1.06, -1.06, 1.06), interpolation="bilinear")
z, taken = forward(X[held], params)[2], []
for at, picture, digit in zip(z, X[held], y[held]):
    if any(np.abs(at - other).max() < 0.072 for other in taken): continue
    taken.append(at)
    ink = np.concatenate([np.broadcast_to(hues[digit] * 0.55, (8, 8, 3)), picture.reshape(8, 8, 1)], -1)
    ax.imshow(ink, extent=(at[0] - 0.044, at[0] + 0.044, at[1] - 0.044, at[1] + 0.044), zorder=3, interpolation="bilinear")
ax.set(xlim=(-1.06, 1.06), ylim=(-1.06, 1.06), xticks=[], yticks=[])
ax.set_title("where unseen digits land on the network's map of the plane", fontsize=8.5, loc="left")
for s in ax.spines.values(): s.set_visible(False)

filters = params[0].T
strong = np.argsort(-np.abs(filters).sum(1))[:45]
tiles = np.full((5 * 9 - 1, 9 * 9 - 1), np.nan)
for k, f in enumerate(filters[strong]):
    r, c = divmod(k, 9)
    tiles[9 * r:9 * r + 8, 9 * c:9 * c + 8] = f.reshape(8, 8) / np.abs(f).max()
ax = fig.add_subplot(grid[0, 1])
ax.imshow(tiles, cmap="RdBu_r", vmin=-1, vmax=1)
ax.set_title("what its first layer looks for", fontsize=8.5, loc="left")
ax.axis("off")

ax = fig.add_subplot(grid[1, 1])
for line, name, color in zip(curve.T, ("training", "held out"), ("0.55", "#0b5fa5")): ax.semilogy(np.arange(1, epochs + 1), np.maximum(line, 0.06), color=color, label=name, lw=1.6)
ax.set(xlim=(1, epochs), xlabel="epochs")
ax.set_yticks([0.1, 1, 10, 100], ["0.1 %", "1 %", "10 %", "100 %"])
ax.set_title("images read wrongly, while it learns", fontsize=8.5, loc="left")
ax.legend(frameon=False)

path = Path(__file__).resolve().parent.parent / "nbs" / "images" / "cover.png"
path.parent.mkdir(exist_ok=True)
fig.savefig(path, metadata={"Software": None})
print(path.name, path.stat().st_size // 1024, "KB")
