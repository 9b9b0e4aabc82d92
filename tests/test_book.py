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


# --- notation

SCRIPT = r"(?:\{(?:[^{}]|\{[^{}]*\})*\}|\\[A-Za-z]+|\w)"
BOLD = r"\\(?:mathbf|boldsymbol|bm)\{"
RULES = {name: re.compile(pattern) for name, pattern in {
    "a bold vector has no index below: the i-th of several is \\mathbf{x}^{(i)}, its entry x_j":
        rf"(?:\\(?:bar|hat|dot|tilde)\{{{BOLD}[^{{}}]*\}}\}}|{BOLD}[^{{}}]*\}})(?:'|\^{SCRIPT})*\s*_\s*\{{?\s*(?:[ch-ty0-9-]|\\(?:ell|sigma|pi)\b)",
    "a step of a sequence stands above: \\theta^{(t)}": r"_\s*(?:t|\{\s*t\s*(?:[+-]\s*\w+\s*)?\})|\\theta\}?\s*_\s*(?:[0T]|\{\s*[0T]\s*\})",
    "a layer stands above: W^{(1)}": r"(?<![\w\\{])W\s*_\{?\s*(?:\d|\\ell|l\b)",
    "matrices are not bold": rf"{BOLD}\s*(?:[A-Z]|\\[A-Z])",
    "an entry of W is w_{ij}": r"(?<![\w\\])[A-Z]\}?\s*_\{[a-z]{2}\}",
    "the transpose is ^\\top": r"\^\s*(?:T|\{\s*(?:\([^{}()]*\)|-)?\s*T\s*\}|\\intercal|(?:\{[^{}]*)?\\(?:mathsf|mathrm|text)\{T\})",
    "norms are \\lVert … \\rVert": r"\|\||\\\||\\Vert|\\parallel",
    "\\operatorname{Var}, \\mathbb{E}, P, \\log": r"\\(?:vec|ln|Pr)(?![A-Za-z])|\\(?:mathrm|text|textrm|mathit)\{(?:E|P|var|cov|Var|Cov|KL|tr|det|rank|diag)\}|\\operatorname\{(?:var|cov|E|ln)\}|\\mathbb\{P\}",
    "\\mathbb{E}[…], \\operatorname{Var}(…)": rf"(?<![\w\\{{])(?:E(?:_{SCRIPT})?\s*\[|(?:Var|Cov|KL)(?:_{SCRIPT})?\s*[\[(])",
}.items()}


def formulas(text):
    "The mathematics of a page, but for the boxes that say what others write."
    text = re.sub(r"^:::+ *\{[^}\n]*Other names.*?^:::+ *$", "", text, flags=re.S | re.M)
    return [a or b for a, b in re.findall(r"(?<!\\)\$\$(.+?)\$\$|(?<![\\$\w])\$(?![\s$])([^$]*?[^\s\\$])\$(?![\d$])", text, flags=re.S)]


def plain(formula):
    "One spelling for what looks the same: \\mathbf x is \\mathbf{x}; no sizes of brackets, no spaces, no starred operators."
    formula = re.sub(r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])|\\[,;:! ]|(?<=\\operatorname)\*", "", formula)
    return re.sub(r"\\(mathbf|boldsymbol|bm|mathbb|mathsf|mathcal|mathrm|text|bar|hat|dot|tilde)\s*(\\[A-Za-z]+|(?<=\s)\w|\d)", r"\\\1{\2}", formula)


def misnotations(formula):
    "What in a formula is against the tables of the preface."
    formula = re.sub(rf"(\\(?:sum|prod|int|max|min|lim|sup|inf|big[a-z]+|operatorname\{{\w+\}}|mathbb\{{E\}})(?:\\limits)?)(?:\s*[_^]\s*{SCRIPT})+", r"\1", plain(formula))
    formula = re.sub(r"(\\operatorname\{KL\}\s*\((?:(?!\\\|).)*)\\\|", r"\1", formula, flags=re.S)
    formula = re.sub(rf"(\\(?:alpha|beta|gamma|eta|kappa|lambda|rho)(?:_{SCRIPT})?)\s*\^\{{?T\b\}}?", r"\1", formula)  # a power
    return [rule for rule, pattern in RULES.items() if pattern.search(formula)]


@pytest.mark.parametrize("path", CHAPTERS + [p for p in PAGES if p.name != "00_preface.md"], ids=lambda p: p.stem)
def test_notation_of_the_preface(path):
    found = [f"{formula.strip()}: {rule}" for formula in formulas(prose(path)) for rule in misnotations(formula)]
    assert not found, f"{path.name}:\n" + "\n".join(found)


def symbols(formula):
    "The commands in a formula, with what tells them apart: a font's letter, an operator's name, the index of a norm."
    formula = plain(formula)
    return set(re.findall(r"\\(?:operatorname|mathbf|boldsymbol|mathbb|mathsf|mathcal)\{[^{}]*\}|\\rVert_\w|\\nabla\^2|\\theta\^\*|\^\{[+-]1?\}|\\[A-Za-z]+", formula))


def test_every_row_of_the_notation_is_used():
    preface = (NBS / "00_preface.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line)[1].strip() for line in preface[preface.index("{#sec-notation}"):].splitlines() if line.startswith("| $")]
    assert len(rows) > 40, "the reading of the tables does not work"
    used = set().union(*(symbols(f) for path in CHAPTERS for f in formulas(prose(path))))
    missing = {row: sorted(lack) for row in rows if (lack := set().union(*map(symbols, formulas(row))) - used)}
    assert not missing, "no chapter writes:\n" + "\n".join(f"{row}   ({', '.join(lack)})" for row, lack in missing.items())


@pytest.mark.parametrize("formula", [
    r"\mathbf{x}_i", r"\mathbf{x}_1", r"\mathbf x_j", r"\mathbf{x}_{i+1}", r"\mathbf{x}^{(i)}_j", r"\mathbf{w}_k^\top\mathbf{x}", r"\hat{\mathbf{x}}_i", r"\boldsymbol{\mu}_k", r"\mathbf{x}'_i", r"\mathbf{e}_{\sigma(i)}", r"\mathbf{w}_y",
    r"\theta_t", r"\theta_0", r"\theta_{t+1}", r"\theta _{ t - 1 }", r"\hat\theta_t", r"\hat{\theta}_0", r"g_t", r"m_{t-1}", r"\eta_t", r"\bar v_t^2", r"h_{t}",
    r"W_1\mathbf{x}", r"W_{\ell}", r"\mathbf{W}", r"\mathbf W\mathbf x", r"\boldsymbol{\Sigma}", r"W_{ij}", r"\bar W_{jk}", r"\hat{X}_{ij}",
    r"W^T", r"W^{T}", r"\mathbf{x}^Tx", r"W^{-T}", r"\mathbf{x}^{(i)T}", r"A^{\mathsf T}", r"A^\mathrm{T}", r"A^{(1)\mathrm{T}}", r"A^\intercal", r"(AB)^T",
    r"||x||", r"\|\mathbf{x}\|_2", r"\left\|x\right\|", r"\Vert x\Vert", r"\operatorname{KL}(p \,\|\, q) + \|x\|", r"\operatorname{KL}(p || q)",
    r"\vec{x}", r"\vec x", r"\mathrm{E}[x]", r"\text{Var}(x)", r"\mathrm{Var}(x)", r"\operatorname{var}(x)", r"\ln x", r"\ln(x)", r"\Pr(A)", r"\mathbb{P}(A)", r"\mathbb P(A)", r"D_{\mathrm{KL}}",
    r"E[x]", r"E\left[x\right]", r"= E_p[x]", r"E_{x \sim p}[f]", r"\sigma^2 = Var(x)", r"Cov(x, y)"])
def test_misnotation_is_noticed(formula): assert misnotations(formula), formula


@pytest.mark.parametrize("formula", [
    r"\mathbf{x}^{(i)}", r"x^{(i)}_j", r"\mathbf{x}_\text{new}", r"\mathbf{x}_{\text{new}}", r"\mathbf{w}_{\mathrm{ridge}}", r"\mathbf{w}_\lambda", r"\hat{\boldsymbol\mu}_x", r"\boldsymbol\mu_a + \Sigma_{ab}", r"\mathbf{x}^{(i)\top}\mathbf{w}", r"\bar{\mathbf{x}}", r"\lVert\mathbf{x}\rVert_1", r"\nabla_{\mathbf{x}} f_i",
    r"\underbrace{W\mathbf{x}}_{\le 0}", r"(W\mathbf{x})_i", r"\theta^{(t)}", r"\theta^{(t+1)}_j", r"\theta_j", r"\theta_1", r"\nabla_\theta L", r"\nabla_{\theta} L", r"\beta^t", r"\beta^{t-k} g^{(k)}", r"p_\theta(x)",
    r"\sum_t \eta^{(t)}", r"\sum_{t=1}^T L^{(t)}", r"\prod_{t=1}^{T} x", r"\max_t x^{(t)}", r"\lim_{t\to\infty}", r"\int_0^T f", r"\mathbb{E}_t[x]", r"\beta^T", r"\beta_1^{T}", r"x^{(T)}", r"x^2 + \mathrm{T}", r"e^{-t/T}", r"2^{T-1}", r"\theta_\text{true}",
    r"W^{(1)}\mathbf{x}", r"w_{ij}", r"\Sigma_{ij}", r"W_q^\top W_k", r"W^\top", r"X W^\top + \mathbf{b}", r"\theta^\top", r"A^{-1}", r"\boldsymbol{\mu}", r"\mathbf{1}\mathbf{1}^\top",
    r"\lVert\theta\rVert^2", r"|x|", r"p(x \mid y)", r"\operatorname{KL}(p \,\|\, q)", r"\operatorname{KL}\bigl(p(x) \,\|\, q(x)\bigr) \ge 0", r"\operatorname{KL}(p \| q) + \operatorname{KL}(q \| p)",
    r"\mathbb{E}[x]", r"\mathbb E[x]", r"\mathbb{E}\left[x\right]", r"\operatorname{Var}(x)", r"\operatorname*{argmin}_\theta L", r"\log x", r"E^* \sim u^{2/3}", r"E_\text{forward}(h)", r"n E", r"\mathcal{N}(0, 1)", r"\mathrm{d}x", r"\text{Varying}"])
def test_notation_is_accepted(formula): assert not misnotations(formula), formula


def test_reading_of_formulas():
    text = "It costs \\$5 and $a_1$, $b$-th; $$\nc\n$$ {#eq-c}\n\n::: {.callout-note title=\"Other names\"}\n$\\ln x$\n:::\n\nand ($d$). No $ alone $ is one, nor $5 or $6."
    assert [f.strip() for f in formulas(text)] == ["a_1", "b", "c", "d"]
    assert symbols(r"\mathbf x^\top\lVert W \rVert_F + \operatorname*{argmin} \hat\mu W^{+}") == {r"\mathbf{x}", r"\top", r"\lVert", r"\rVert_F", r"\operatorname{argmin}", r"\hat", r"\mu", "^{+}"}


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
