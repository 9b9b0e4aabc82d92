"""Chores of the book: run its notebooks, keep their text twins, check that the package is what they export.

    book.py run [CH]     execute in fresh kernels, in place: all notebooks, or those whose names begin with CH
    book.py text [CH]    write the py:percent twin of each notebook
    book.py sync [CH]    carry edits over, twin to notebook or notebook to twin; outputs of unchanged cells stay
    book.py exported     fail if nbdev_export changes anything under dlfs/
"""
import difflib, filecmp, hashlib, json, os, re, shutil, subprocess, sys, tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS, STATE = ROOT / "nbs", ROOT / ".twins.json"

def notebooks(prefix=""):
    "The notebooks whose file names begin with `prefix`, in the order of the book."
    found = sorted((p for p in NBS.rglob("*.ipynb") if not any(d.startswith((".", "_")) for d in p.relative_to(ROOT).parts)), key=lambda p: (p.name, p))
    chosen = [p for p in found if p.name.startswith(prefix)]
    if not chosen: sys.exit(f"No notebook under nbs/ has a name that begins with {prefix!r}. There are: {', '.join(p.stem for p in found)}")
    return chosen

def read(path):
    import nbformat
    return nbformat.read(path, as_version=4)

def tidy(nb):
    "Drop what changes from run to run though nothing has changed: counts, times, addresses, widgets, progress bars."
    from nbdev.clean import clean_nb
    for cell in nb.cells:
        if cell.cell_type != "code": continue
        outputs = []
        for out in cell.outputs:
            if out.output_type == "stream":
                if out.name == "stderr": continue
                out.text = re.sub(r"[^\n]*\r(?!\n)", "", out.text)
                if outputs and outputs[-1].get("name") == out.name:  # the kernel sends one print in several pieces, as it likes
                    outputs[-1].text += out.text
                    continue
            elif "application/vnd.jupyter.widget-view+json" in out.get("data", {}): continue
            outputs.append(out)
        cell.outputs = outputs
    clean_nb(nb)
    nb.metadata = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
    return nb

def write(nb, path):
    "Write beside, then rename; leave the file alone where nothing changed."
    import nbformat
    text = nbformat.writes(tidy(nb))
    if not text.endswith("\n"): text += "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text: return False
    beside = path.with_suffix(".ipynb.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return True

# --- running

def execute(path):
    "Run one notebook in a fresh kernel, in its folder. None, or what went wrong."
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    nb = read(path)
    for cell in nb.cells:
        if cell.cell_type == "code": cell.outputs, cell.execution_count = [], None
    client = NotebookClient(nb, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}, record_timing=False, store_widget_state=False)
    try: client.execute(stderr=subprocess.DEVNULL)
    except CellExecutionError as error: return re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    write(nb, path)

def run(prefix=""):
    from tqdm import tqdm
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    chosen, failed = notebooks(prefix), {}
    with ProcessPoolExecutor(2) as pool, tqdm(total=len(chosen), unit="chapter") as bar:
        jobs = {pool.submit(execute, p): p for p in chosen}
        for job in as_completed(jobs):
            error = job.exception() or job.result()
            if error: failed[jobs[job]] = error
            bar.set_postfix_str(jobs[job].stem)
            bar.update()
    for path, error in failed.items(): print(f"\n{path.relative_to(ROOT)} failed; its file was left as it was.\n{error}", file=sys.stderr)
    sys.exit(bool(failed))

# --- text twins

def sources(nb): return [[c.cell_type, c.source.strip("\n")] for c in nb.cells]
def digest(cells): return hashlib.sha256(json.dumps(cells).encode()).hexdigest()
def seen(): return json.loads(STATE.read_text()) if STATE.exists() else {}

def write_twin(nb, path):
    import jupytext, nbformat
    bare = nbformat.v4.new_notebook(cells=nb.cells, metadata={"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}})
    path.with_suffix(".py").write_text(jupytext.writes(bare, fmt="py:percent"), encoding="utf-8")

def merge(nb, twin):
    "The notebook with the twin's cells: a cell whose source is unchanged, or only moved, keeps its id and its outputs."
    import nbformat
    old, new = sources(nb), sources(twin)
    match = {}
    for tag, a, b, c, d in difflib.SequenceMatcher(None, [tuple(x) for x in old], [tuple(x) for x in new], autojunk=False).get_opcodes():
        if tag == "equal": match.update(zip(range(c, d), range(a, b)))
    free = [i for i in range(len(old)) if i not in set(match.values())]
    for j, cell in enumerate(new):  # moved
        if j not in match and (i := next((i for i in free if old[i] == cell), None)) is not None: match[j] = i; free.remove(i)
    edited = {}
    for j, (kind, _) in enumerate(new):  # edited in place: keeps its id, not its outputs
        if j in match: continue
        before = max((match.get(k, edited.get(k, -1)) for k in range(j)), default=-1)
        if before + 1 in free and old[before + 1][0] == kind: edited[j] = before + 1; free.remove(before + 1)
    cells = []
    for j, cell in enumerate(twin.cells):
        if j in match: cells.append(nb.cells[match[j]])
        else:
            make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell, "raw": nbformat.v4.new_raw_cell}
            fresh = make[cell.cell_type](cell.source)
            if j in edited: fresh.id = nb.cells[edited[j]].id
            cells.append(fresh)
    nb.cells = cells
    return nb

def sync(prefix="", only_text=False):
    import jupytext, nbformat
    state, conflicts = seen(), []
    twins = {p.with_suffix(".ipynb") for p in NBS.rglob("*.py") if p.name.startswith(prefix) and ".ipynb_checkpoints" not in p.parts}
    paths = sorted(twins | (set(notebooks(prefix)) if only_text else set()))
    if not paths: print("There are no text twins yet: `make text` writes them.")
    for path in paths:
        name, twin_path = str(path.relative_to(ROOT)), path.with_suffix(".py")
        nb = read(path) if path.exists() else nbformat.v4.new_notebook()
        a = sources(nb)
        b = sources(jupytext.read(twin_path, fmt="py:percent")) if twin_path.exists() else a
        if a != b:
            base = state.get(name)
            if base not in (digest(a), digest(b)):  # both changed since they last agreed, or never seen: the newer one, if there is no doubt
                if base: conflicts.append(name); continue
                base = digest(a) if not path.exists() or twin_path.stat().st_mtime > path.stat().st_mtime else digest(b)
            if base == digest(a):
                if only_text: print(f"{twin_path.relative_to(ROOT)} has edits which the notebook lacks: `make sync` first"); continue
                write(merge(nb, jupytext.read(twin_path, fmt="py:percent")), path)
                print(f"{twin_path.relative_to(ROOT)} -> {path.name}")
            else:
                write_twin(nb, path)
                print(f"{name} -> {twin_path.name}")
        elif not twin_path.exists():
            write_twin(nb, path)
            print(f"{name} -> {twin_path.name}")
        state[name] = digest(sources(read(path)))
    STATE.write_text(json.dumps(state, indent=1))
    for name in conflicts: print(f"{name} and its twin have both been edited since they were last in step. Delete the one that you do not want kept (the notebook comes back by `git checkout`, the twin by `make text`), or merge by hand.", file=sys.stderr)
    sys.exit(bool(conflicts))

# --- the package

def differing(a, b, at=""):
    "Paths, relative, of the files that are not the same in two folders."
    c = filecmp.dircmp(a, b, ignore=["__pycache__"])
    _, changed, broken = filecmp.cmpfiles(a, b, c.common_files, shallow=False)
    here = [at + n for n in c.left_only + c.right_only + changed + broken]
    return here + [p for d in c.common_dirs for p in differing(Path(a, d), Path(b, d), f"{at}{d}/")]

def exported():
    with tempfile.TemporaryDirectory() as tmp:
        before = Path(tmp, "dlfs")
        shutil.copytree(ROOT / "dlfs", before)
        subprocess.run([Path(sys.executable).parent / "nbdev_export"], cwd=ROOT, check=True)
        changed = differing(before, ROOT / "dlfs")
    if changed: sys.exit("dlfs/ is not what the notebooks export. Changed just now, by nbdev_export: " + ", ".join(changed))
    print("dlfs/ is what the notebooks export")

if __name__ == "__main__":
    command, prefix = (sys.argv[1:] + ["", ""])[:2]
    actions = {"run": lambda: run(prefix), "text": lambda: sync(prefix, only_text=True), "sync": lambda: sync(prefix), "exported": exported}
    if command not in actions: sys.exit(__doc__)
    actions[command]()
