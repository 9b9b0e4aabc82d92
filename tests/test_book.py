"""What a reader of the book, or of its site, would trip over: dangling references, missing figures, stale outputs."""
import ast, base64, json, re, shutil, subprocess, sys, warnings
from collections import Counter
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
NOTEBOOKS = sorted(p for p in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
PAGES = sorted(NBS.glob("*.md"))
CHAPTERS = [p for p in NOTEBOOKS if p.parent.name != "api"]
KINDS = "sec|eq|fig|tbl|thm|lem|cor|prp|def|exm|exr|lst"

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)


def cells(path, kind=None):
    "The cells of a notebook; source and text as one string each."
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        cell["source"] = "".join(cell["source"])
        if kind in (None, cell["cell_type"]): yield cell


def options(source):
    "The `#| name: value` lines at the top of a cell."
    found = {}
    for line in source.splitlines():
        if not line.startswith("#|"): break
        name, _, value = line[2:].partition(":")
        found[name.strip()] = value.strip()
    return found


def prose(path):
    "The text of a page that Quarto reads as Markdown, without code."
    if path.suffix == ".md": text = path.read_text(encoding="utf-8")
    else:
        parts = []
        for cell in cells(path):
            if cell["cell_type"] == "markdown": parts.append(cell["source"])
            elif cell["cell_type"] == "code": parts += [v for k, v in options(cell["source"]).items() if k in ("fig-cap", "tbl-cap")]
        text = "\n\n".join(parts)
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.S)


def labels(path):
    "The cross-reference labels that a page defines, in the order of the page."
    found = re.findall(rf"\{{#((?:{KINDS})-[\w-]+)", prose(path))
    if path.suffix == ".ipynb":
        found += [o["label"] for c in cells(path, "code") if re.match(rf"({KINDS})-", (o := options(c["source"])).get("label", ""))]
    return found


def references(text): return re.findall(rf"(?<![\w\\@])@((?:{KINDS})-[\w-]*\w)", text)
def citations(text): return [k for k in re.findall(r"(?<![\w\\@/.])@([A-Za-z][\w:-]*\w)", text) if not re.match(rf"({KINDS})-", k)]


# --- names and links

def test_cross_references_resolve():
    defined = Counter(label for path in NOTEBOOKS + PAGES for label in labels(path))
    assert not [f"{label} is defined {n} times" for label, n in defined.items() if n > 1]
    assert not [f"{path.name}: @{r}" for path in NOTEBOOKS + PAGES for r in references(prose(path)) if r not in defined]
    assert len(defined) > len(NOTEBOOKS), "the reading of labels does not work"


def test_citations_are_in_the_bibliography():
    keys = re.findall(r"^@\w+\{([^,\s]+),", (ROOT / "references.bib").read_text(encoding="utf-8"), flags=re.M)
    assert not [k for k, n in Counter(keys).items() if n > 1]
    cited = [(path.name, k) for path in NOTEBOOKS + PAGES for k in citations(prose(path))]
    assert not [f"{name}: @{k}" for name, k in cited if k not in keys]


def test_internal_links_and_images_exist():
    missing = []
    for path in NOTEBOOKS + PAGES + [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)\s]+)[^)]*\)", prose(path)):
            if re.match(r"[a-z]+:", target): continue
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists(): missing.append(f"{path.name}: {target}")
            elif re.match(rf"({KINDS})-", anchor) and anchor not in labels(there): missing.append(f"{path.name}: {target}")
    assert not missing


def test_pages_have_alt_text_for_images():
    for path in NOTEBOOKS + PAGES + [ROOT / "README.md"]:
        for alt, rest in re.findall(r"!\[([^\]]*)\]\([^)]*\)(\{[^}]*\})?", prose(path)):
            assert alt.strip() or "fig-alt" in rest, f"{path.name}: an image without alt text"


def test_reading_of_references():
    "The functions above, on cases in which they could be fooled."
    assert references("see @sec-a-b, (@eq-x). `@fig-no` a@sec-no") == ["sec-a-b", "eq-x", "fig-no"]
    assert citations("[@key2020; @other:1, p. 3] and @sec-x, me@example.org, A @ B") == ["key2020", "other:1"]
    assert options("#| label: fig-x\n#| fig-cap: A: b\nx = 1\n#| no: no") == {"label": "fig-x", "fig-cap": "A: b"}


def test_readme_runs_and_names_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(text.splitlines()[:20])
    assert "make lab" in first_screen and "make test" in first_screen and "![" in first_screen
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.S): exec(code, {})


# --- the list of chapters

def test_quarto_lists_what_exists():
    yaml = pytest.importorskip("yaml")
    book = yaml.safe_load((ROOT / "_quarto.yml").read_text())["book"]
    stub = yaml.safe_load((NBS / "_quarto.yml").read_text())
    assert stub["project"]["type"] == "book" and "../_quarto.yml" in stub["metadata-files"]
    def files(entries):
        for e in entries:
            if isinstance(e, str): yield e
            else: yield from files(e["chapters"])
    listed = list(files(book["chapters"])) + list(files(book["appendices"]))
    assert len(set(listed)) == len(listed)
    assert set(listed) == {str(p.relative_to(NBS)) for p in NOTEBOOKS + PAGES}
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"): assert "jobs" in yaml.safe_load(workflow.read_text())


def test_processed_notebooks(tmp_path):
    "What nbdev hands to Quarto still has each title with its label, and each exported cell in full."
    pytest.importorskip("nbdev")
    for name in ("settings.ini", "_quarto.yml", "pyproject.toml"): shutil.copy(ROOT / name, tmp_path)
    for name in ("nbs", "dlfs"): shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    done = subprocess.run([sys.executable, "-c", "from nbdev.serve import proc_nbs; proc_nbs('nbs', n_workers=0)"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for path in NOTEBOOKS:
        out = tmp_path / "_proc" / path.relative_to(NBS)
        title = next(cells(path))["source"].splitlines()[0]
        assert re.fullmatch(r"# .+ \{#sec-[\w-]+\}", title), f"{path.stem} begins with {title!r}, not with `# Title {{#sec-name}}`"
        shown = list(cells(out))
        assert shown[0]["source"].splitlines()[0] == title, path.stem
        code = "\n".join(c["source"] for c in shown if c["cell_type"] == "code")
        for cell in cells(path, "code"):
            first, _, body = cell["source"].partition("\n")
            if first.startswith("#| exports") and "#| hide" not in cell["source"] and path.parent.name != "api":
                assert body.strip().splitlines()[-1] in code, f"{path.stem}: an exported cell is missing from the page: {body[:80]!r}"


# --- cells and outputs

@each_notebook
def test_export_directives(path):
    for cell in cells(path, "code"):
        for line in cell["source"].splitlines():
            assert not re.match(r"#\|\s*exporti?\b", line), "`#| export` would take the cell out of the page: write `#| exports module`"
            if path.parent.name != "api" and line.startswith("#| exports"): assert len(line.split()) == 3, f"name the module: {line!r}"


@each_notebook
def test_notebook_was_run(path):
    "No error, and something printed wherever a cell prints."
    ran = False
    for cell in cells(path, "code"):
        outputs, opts = cell["outputs"], options(cell["source"])
        ran |= bool(outputs)
        assert not [o for o in outputs if o["output_type"] == "error"], cell["source"][:200]
        if opts.get("eval") == "false" or cell["source"].lstrip().startswith(("%", "!")): continue
        try: tree = ast.parse(cell["source"])
        except SyntaxError: continue  # magics
        prints = any(isinstance(n, ast.Expr) and isinstance(n.value, ast.Call) and getattr(n.value.func, "id", "") == "print" for n in tree.body)
        if prints: assert any(o["output_type"] == "stream" for o in outputs), f"never run since it was edited (make book CH={path.stem[:2]}): {cell['source'][:200]}"
    assert ran, f"{path.stem} was never run: make book CH={path.stem[:2]}"


def images(cell):
    for out in cell["outputs"]:
        for mime, data in out.get("data", {}).items():
            if mime in ("image/png", "image/svg+xml"): yield mime, "".join(data)


@each_chapter
def test_figures(path):
    "Every picture has a label, a caption and a description; every figure cell has its picture."
    for cell in cells(path, "code"):
        opts, shown = options(cell["source"]), list(images(cell))
        if shown or opts.get("label", "").startswith("fig-"):
            assert opts.get("label", "").startswith("fig-") and opts.get("fig-cap") and opts.get("fig-alt"), f"a figure cell needs label, fig-cap and fig-alt: {cell['source'][:200]}"
            assert shown, f"{opts['label']} shows no picture: run the chapter"
        for mime, data in shown:
            size = len(base64.b64decode(data)) if mime == "image/png" else len(data)
            if size > 60 * 1024: warnings.warn(f"{path.stem}, {opts['label']}: {size // 1024} KB; 60 is the aim")
            assert size <= 100 * 1024, f"{opts['label']}: {size // 1024} KB"


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.parent.name == "api"], ids=lambda p: p.stem)
def test_reference_page_is_current(path):
    from dlfs.docs import api
    pytest.importorskip("IPython")
    *_, last = cells(path, "code")
    module = re.search(r'api\("(dlfs[\w.]*)"\)', last["source"]).group(1)
    shown = "".join("".join(o["data"]["text/markdown"]) for o in last["outputs"] if "data" in o)
    assert shown == api(module).data, f"out of date: make book CH={path.stem}"


# --- exercises

def asked(): return {n for p in CHAPTERS if p.parent.name != "appendix" for c in cells(p) for n in re.findall(r"""\bcheck\(["']([\w-]+)["']""", c["source"])}
def solved(): return [n for p in CHAPTERS if p.stem.startswith("94_") for c in cells(p, "code") for n in re.findall(r"""^solution\(\s*["']([\w-]+)["']""", c["source"], flags=re.M)]


def test_every_exercise_has_a_checker_and_a_solution():
    from dlfs.exercises import CHECKERS
    assert asked(), "no chapter has an exercise with a checker"
    assert asked() == set(CHECKERS) == set(solved())
    filed = re.findall(r"""^@?checker\(["']([\w-]+)["']""", (ROOT / "dlfs" / "exercises.py").read_text(), flags=re.M)
    assert not [n for n, k in Counter(filed).items() if k > 1], "two checkers under one name"


def test_every_chapter_has_six_exercises():
    for path in CHAPTERS:
        if path.parent.name == "appendix": continue
        stars = [line for c in cells(path, "markdown") for line in c["source"].splitlines() if re.match(r"\s*\d+\.\s+(\*\*)?★", line)]
        assert len(stars) >= 6, f"{path.stem} has {len(stars)} exercises"


@pytest.mark.slow
def test_checkers_accept_solutions_and_reject_the_rest(monkeypatch):
    "Run the solutions appendix; `solution` raises where a checker accepts a stub or a wrong answer, or rejects the right one."
    import dlfs.exercises as exercises
    shipped, judged, real = dict(exercises.CHECKERS), [], exercises.solution
    monkeypatch.setattr(exercises, "solution", lambda name, *a, **k: (real(name, *a, **k), judged.append(name)))
    for name in shipped: monkeypatch.setitem(exercises.CHECKERS, name, None)  # the notebook must file them anew
    for path in (p for p in CHAPTERS if p.stem.startswith("94_")):
        monkeypatch.chdir(path.parent)
        space = {"__name__": "__main__"}
        for i, cell in enumerate(cells(path, "code")):
            if options(cell["source"]).get("eval") != "false": exec(compile(cell["source"], f"{path.stem}, code cell {i}", "exec"), space)
    assert set(judged) == set(shipped)
