"""The chores of tools/book.py: twins keep outputs both ways, a run leaves nothing behind that changes by itself."""
import json, os, shutil, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
jupytext, nbformat = pytest.importorskip("jupytext"), pytest.importorskip("nbformat")
pytest.importorskip("nbdev")
V4 = nbformat.v4


@pytest.fixture
def book(tmp_path):
    "A book of one notebook, with outputs, and a copy of the tool."
    (tmp_path / "nbs" / "part").mkdir(parents=True)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "book.py", tmp_path / "tools")
    show = lambda text: [V4.new_output("stream", name="stdout", text=text)]
    nb = V4.new_notebook(cells=[V4.new_markdown_cell("# A {#sec-a}"), V4.new_code_cell("print(1)", outputs=show("1\n")),
                                V4.new_code_cell("print(2)", outputs=show("2\n")), V4.new_markdown_cell("Words.")])
    for i, cell in enumerate(nb.cells): cell.id = f"cell-{i}"
    nbformat.write(nb, tmp_path / "nbs" / "part" / "01_a.ipynb")
    return tmp_path


def run(book, *args, ok=True):
    done = subprocess.run([sys.executable, str(book / "tools" / "book.py"), *args], capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def notebook(book): return nbformat.read(book / "nbs" / "part" / "01_a.ipynb", 4)
def twin(book): return book / "nbs" / "part" / "01_a.py"
def shown(book): return {c.source: ([o.text for o in c.outputs], c.id) for c in notebook(book).cells if c.cell_type == "code"}


def test_twin_to_notebook_and_back(book):
    run(book, "text")
    assert "print(1)" in twin(book).read_text()
    before = (book / "nbs" / "part" / "01_a.ipynb").read_bytes()
    run(book, "sync")
    assert (book / "nbs" / "part" / "01_a.ipynb").read_bytes() == before, "a sync without edits changes nothing"

    twin(book).write_text(twin(book).read_text().replace("print(2)", "print(3)").replace("Words.", "Other words.\n\n# %%\nprint(4)"))
    run(book, "sync")
    assert shown(book) == {"print(1)": (["1\n"], "cell-1"), "print(3)": ([], "cell-2"), "print(4)": ([], shown(book)["print(4)"][1])}
    assert notebook(book).cells[3].source == "Other words."

    nb = notebook(book)  # now the other way
    nb.cells[0].source = "# B {#sec-a}"
    nbformat.write(nb, book / "nbs" / "part" / "01_a.ipynb")
    run(book, "sync")
    assert "# # B {#sec-a}" in twin(book).read_text() and shown(book)["print(1)"] == (["1\n"], "cell-1")


def test_a_moved_cell_keeps_its_outputs(book):
    run(book, "text")
    text = twin(book).read_text().replace("print(1)", "HERE").replace("print(2)", "print(1)").replace("HERE", "print(2)")
    twin(book).write_text(text)
    run(book, "sync")
    assert [c.source for c in notebook(book).cells if c.cell_type == "code"] == ["print(2)", "print(1)"]
    assert shown(book)["print(1)"] == (["1\n"], "cell-1") and shown(book)["print(2)"] == (["2\n"], "cell-2")


def test_two_edits_at_once_are_refused(book):
    run(book, "text")
    twin(book).write_text(twin(book).read_text().replace("print(2)", "print(3)"))
    nb = notebook(book)
    nb.cells[3].source = "Different words."
    nbformat.write(nb, book / "nbs" / "part" / "01_a.ipynb")
    assert "both been edited" in run(book, "sync", ok=False)
    assert "print(3)" in twin(book).read_text() and notebook(book).cells[3].source == "Different words."


def test_text_does_not_overwrite_edits(book):
    run(book, "text")
    twin(book).write_text(twin(book).read_text().replace("print(2)", "print(3)"))
    assert "make sync" in run(book, "text") and "print(3)" in twin(book).read_text()


def test_a_new_twin_becomes_a_notebook(book):
    (book / "nbs" / "part" / "02_b.py").write_text("# %% [markdown]\n# # New {#sec-new}\n\n# %%\n1 + 1\n")
    run(book, "sync")
    assert [c.source for c in nbformat.read(book / "nbs" / "part" / "02_b.ipynb", 4).cells] == ["# New {#sec-new}", "1 + 1"]


@pytest.mark.slow
def test_running_twice_changes_nothing(book):
    path = book / "nbs" / "part" / "01_a.ipynb"
    nb = notebook(book)
    nb.cells += [V4.new_code_cell("import sys\nprint('a'); print('b', flush=True)\nprint('progress', file=sys.stderr)\nprint('half\\rwhole')"), V4.new_code_cell("object()")]
    nbformat.write(nb, path)
    run(book, "run", "01")
    once = path.read_bytes()
    outputs = [c.outputs for c in notebook(book).cells if c.cell_type == "code"]
    assert [o.text for o in outputs[2]] == ["a\nb\nwhole\n"] and " at 0x" not in json.dumps(outputs)
    run(book, "run", "01")
    assert path.read_bytes() == once


@pytest.mark.slow
def test_a_failing_notebook_is_left_alone(book):
    path = book / "nbs" / "part" / "01_a.ipynb"
    nb = notebook(book)
    nb.cells[2].source = "1 / 0"
    nbformat.write(nb, path)
    before = path.read_bytes()
    assert "ZeroDivisionError" in run(book, "run", ok=False) and path.read_bytes() == before
    assert "begins with '7'" in run(book, "run", "7", ok=False)


def test_compared_folders(tmp_path):
    sys.path.insert(0, str(ROOT / "tools"))
    try: from book import differing
    finally: sys.path.pop(0)
    for d in "ab": (tmp_path / d / "x").mkdir(parents=True)
    for d in "ab": (tmp_path / d / "x" / "same.py").write_text("1")
    assert differing(tmp_path / "a", tmp_path / "b") == []
    (tmp_path / "a" / "x" / "more.py").write_text("2")
    (tmp_path / "b" / "x" / "same.py").write_text("2")
    assert sorted(differing(tmp_path / "a", tmp_path / "b")) == ["x/more.py", "x/same.py"]
