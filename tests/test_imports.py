"""Imports run one way, `import dlfs` needs NumPy alone, and neither it nor these tests need anything optional."""
import ast, configparser, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dlfs"

# Ground floor first. A module may import from the modules above it in this list, never from those below it.
FLOORS = """
    numerics
    array
    kernels kernels.c
    autodiff
    ops
    creation
    nn.functional
    nn.init nn.modules nn.utils
    nn
    optim.lr_scheduler optim
    autograd.functional autograd
    data datasets linear
    utils.checkpoint utils.data utils
    viz
    train
    exercises docs
    __init__
""".split()

OPTIONAL = ["cupy", "triton", "matplotlib", "sklearn", "scipy", "safetensors", "ml_dtypes", "tqdm", "pooch", "IPython", "torch"]


def modules():
    "Name in the package, without `dlfs.` -> path."
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    found.pop("_modidx")
    return found


def imported(name, source, known):
    "The modules of dlfs which a module imports, anywhere in its source, also inside functions."
    package = name.split(".") if name in ("nn", "optim", "autograd", "utils", "kernels") else name.split(".")[:-1]
    if name == "__init__": package = []
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import): found |= {a.name.removeprefix("dlfs.") for a in node.names if a.name.startswith("dlfs.")}
        elif isinstance(node, ast.ImportFrom):
            if node.level: base = package[:len(package) - node.level + 1] + (node.module or "").split(".")
            elif (node.module or "").split(".")[0] == "dlfs": base = node.module.split(".")[1:]
            else: continue
            base = ".".join(filter(None, base))
            below = {f"{base}.{a.name}".lstrip(".") for a in node.names} & known
            found |= below or {base or "__init__"}
    return found


def climbs(graph):
    "The imports in a graph {module: imported modules} that do not go down."
    rank = {name: i for i, name in enumerate(FLOORS)}
    return [f"{name} imports {other}" for name, others in graph.items() for other in others if rank[other] >= rank[name]]


def test_imports_run_one_way():
    found = modules()
    assert set(found) == set(FLOORS), "a module without a floor, or a floor without a module"
    graph = {name: imported(name, path.read_text(), set(found)) for name, path in found.items()}
    assert not climbs(graph)
    assert graph["ops"] >= {"array", "autodiff"} and "nn.modules" in graph["nn"], "the reading of imports does not work"


@pytest.mark.parametrize("name, source, found", [
    ("ops", "from .creation import *", {"creation"}), ("ops", "def f():\n  from . import nn", {"nn"}), ("nn.init", "from . import modules as m", {"nn.modules"}),
    ("array", "import dlfs.train", {"train"}), ("nn", "from ..data import *", {"data"}), ("nn.utils", "from .. import optim", {"optim"}), ("autodiff", "from dlfs import ops", {"ops"})])
def test_an_import_upstairs_is_noticed(name, source, found):
    assert imported(name, source, set(FLOORS)) == found and climbs({name: found})


def python(code, **kwargs):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, **kwargs)


def test_import_loads_numpy_alone():
    done = python("""
import sys, numpy
before = set(sys.modules)
import dlfs
print(*sorted({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names) - {'numpy', 'dlfs'}))""")
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & set(OPTIONAL + ["networkx", "jupyterlab", "nbdev"]), done.stdout


BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {names!r}: raise ModuleNotFoundError(f'No module named {{name!r}} (hidden by this test)', name=name)
sys.meta_path.insert(0, Absent())
"""

STEP = """
import dlfs as torch
from dlfs import nn, optim, utils, autograd, data, datasets, train, viz, exercises, docs
from dlfs.nn import functional as F
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
optimizer = optim.AdamW(net.parameters(), lr=1e-2)
x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
losses = []
for _ in range(20):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0]
"""


@pytest.mark.parametrize("hidden", OPTIONAL + [pytest.param(OPTIONAL, id="all")])
def test_runs_without(hidden):
    names = [hidden] if isinstance(hidden, str) else hidden
    done = python(BLOCK.format(names=names) + STEP)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("hidden", OPTIONAL)
def test_tests_collect_without(hidden):
    done = python(BLOCK.format(names=[hidden]) + "import pytest; sys.exit(pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', 'tests']))")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_as_torch_refuses_where_pytorch_is_loaded():
    done = python("import sys, types\nsys.modules['torch'] = types.ModuleType('torch')\nimport dlfs\ntry: dlfs.as_torch()\nexcept RuntimeError as e: print(e)")
    assert done.returncode == 0 and "already imported" in done.stdout, done.stderr


def test_versions_agree():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini")
    source = (PACKAGE / "__init__.py").read_text()
    assert f"__version__ = '{settings['DEFAULT']['version']}'" in source
