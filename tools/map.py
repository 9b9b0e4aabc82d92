"""Draw the map of the book: which chapter needs which. Writes nbs/images/map.png. The list below is the map's only source; a chapter
whose notebook exists is drawn full, one that is still to be written is drawn dashed."""
import sys
from pathlib import Path
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from dlfs import viz

# name in the map: (title, row, place in the row, what it needs)
CHAPTERS = {
    "01": ("Tensors", 0, 0, []), "02": ("Derivatives", 0, 1, ["01"]), "03": ("Probability", 0, 2, ["02"]),
    "04": ("Optimization", 0, 3, ["03"]), "05": ("Learning\nfrom data", 0, 4, ["04"]), "06": ("Linear models", 0, 5, ["05"]),
    "07": ("Differentiation,\nfour ways", 1, 1, ["02"]), "08": ("The engine", 1, 2, ["07"]), "09": ("Modules,\noptimisers", 1, 3, ["08", "04"]),
    "10": ("Data and\ntraining", 1, 4, ["09", "05"]), "11": ("Perceptrons", 1, 5, ["10", "06"]),
    "20": ("The machine", 2, 2, ["08"]), "CUDA": ("CUDA", 2, 1, ["20"]), "Triton": ("Triton,\ndevices", 2, 0, ["CUDA"]),
    "12": ("Convolution", 3, 5, ["11"]), "13": ("Beyond images", 3, 4, ["12"]), "14": ("Scaling up", 4, 5, ["12"]),
    "15": ("Tokens", 3, 3, ["11"]), "16": ("Transformers", 3, 2, ["15"]), "17": ("Transformers\nin practice", 3, 1, ["16"]),
    "18": ("Recurrence", 4, 3, ["15"]), "19": ("State spaces", 4, 2, ["18", "16"]),
}
PARTS = {"Mathematics": (0, 0.46), "Engine": (0, -1), "Metal": (3, -2), "Models": (0, -3)}  # where each name stands, in columns and rows
WIDE, HIGH, W, H = 1.52, 1.0, 1.24, 0.58

def written(name): return any((ROOT / "nbs").glob(f"*/{name}_*.ipynb"))
def at(name): _, row, col, _ = CHAPTERS[name]; return col * WIDE, -row * HIGH

def arrow(ax, a, b):
    "From the edge of one box to the edge of the other: sideways within a row, else from bottom to top."
    (x0, y0), (x1, y1) = at(a), at(b)
    side = W / 2 if x1 > x0 else -W / 2
    p, q = ((x0 + side, y0), (x1 - side, y1)) if y0 == y1 else ((x0 + (x1 < x0) * side / 2, y0 - H / 2), (x1, y1 + H / 2))
    color = "#777777" if written(b) else "#b5b5b5"
    ax.add_patch(FancyArrowPatch(p, q, arrowstyle="-|>", mutation_scale=9, lw=1.1, color=color, shrinkA=1, shrinkB=1, zorder=1))

viz.style()
fig, ax = plt.subplots(figsize=(8.4, 4.6))
for name, (title, row, col, needs) in CHAPTERS.items():
    x, y = at(name)
    full = written(name)
    ax.add_patch(FancyBboxPatch((x - W / 2, y - H / 2), W, H, boxstyle="round,pad=0,rounding_size=0.1", lw=1, zorder=2,
                                fc="#e3ecf7" if full else "white", ec="#444444" if full else "#999999", ls="-" if full else (0, (4, 2))))
    number = name if name.isdigit() else ""
    ax.text(x - W / 2 + 0.07, y + H / 2 - 0.06, number, ha="left", va="top", fontsize=6.5, color="#777777", zorder=3)
    ax.text(x, y, title, ha="center", va="center", fontsize=8.2, linespacing=1.05, color="black" if full else "#666666", zorder=3)
    for other in needs: arrow(ax, other, name)
for part, (col, row) in PARTS.items():
    ax.text(col * WIDE - W / 2, row * HIGH, part, ha="left", va="center", fontsize=10.5, color=viz.COLORS[0], weight="bold")
ax.set(xlim=(-0.75, 5 * WIDE + 0.75), ylim=(-4 * HIGH - 0.45, 0.7), aspect="equal"); ax.axis("off")
fig.savefig(ROOT / "nbs" / "images" / "map.png", dpi=110, pil_kwargs={"optimize": True})
