"""As a newcomer does it: JupyterLab in a browser opens on the rendered cover; the perceptron chapter runs to the end,
without an error, prints its accuracy and shows its figures."""
import json, os, re, shutil, socket, subprocess, sys, time, urllib.request
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None) \
    or next((p for p in ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium") if os.path.exists(p)), None)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome on this machine")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "JupyterLab with the book's own configuration, on a copy of the book (it saves what it runs)."
    pytest.importorskip("jupyterlab")
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "nbs", home / "nbs", ignore=shutil.ignore_patterns("*.py", ".ipynb_checkpoints"))
    shutil.copytree(ROOT / "tools" / "lab", home / "tools" / "lab")
    shutil.copy(ROOT / "settings.ini", home)
    overrides = json.loads((home / "tools" / "lab" / "overrides.json").read_text())
    overrides["@jupyterlab/notebook-extension:tracker"]["windowingMode"] = "none"  # or cells out of sight are not in the page
    (home / "tools" / "lab" / "overrides.json").write_text(json.dumps(overrides))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(home / "run"),
           "IPYTHONDIR": str(home / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env.pop("MPLBACKEND", None)
    log = open(home / "log", "w+")
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--config=tools/lab/config.py", "--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
                               "--IdentityProvider.token=book", "--allow-root"], cwd=home, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if server.poll() is not None: break
            try: urllib.request.urlopen(f"{url}/api?token=book", timeout=5); break
            except OSError: time.sleep(0.5)
        else: raise RuntimeError("JupyterLab did not start")
        if server.poll() is not None: raise RuntimeError("JupyterLab ended: " + (home / "log").read_text()[-2000:])
        yield url
    finally:
        server.terminate()
        try: server.wait(20)
        except subprocess.TimeoutExpired: server.kill()
        log.close()


@pytest.fixture
def page(tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(str(tmp_path / "profile"), executable_path=CHROMIUM, headless=True, args=FLAGS, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(90_000)
        yield context.pages[0] if context.pages else context.new_page()
        context.close()


def choose(page, menu, item):
    page.click(f".lm-MenuBar-itemLabel:text-is('{menu}')")
    page.click(f".lm-Menu-itemLabel:text-is('{item}')")


def run_all(page, url, path, limit=240):
    "Open a notebook and choose Run > Run All Cells. [(MIME type, text) of each output] when it has come to an end."
    page.goto(f"{url}/lab/tree/{path}?token=book")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector("#jp-main-statusbar :text('| Idle')")
    choose(page, "Edit", "Clear Outputs of All Cells")  # or what was committed would pass for what ran
    page.wait_for_function("() => !document.querySelector('.jp-Notebook .jp-OutputArea-output')")
    choose(page, "Run", "Run All Cells")
    state = """() => {
        const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')]
            .filter(c => c.querySelector('.cm-content').innerText.trim()).map(c => c.querySelector('.jp-InputPrompt').innerText.trim());
        return {waiting: prompts.filter(p => !/^\\[\\d+\\]:?$/.test(p)).length,
                errors: [...document.querySelectorAll("[data-mime-type='application/vnd.jupyter.error']")].map(e => e.innerText)}}"""
    end = time.time() + limit
    while True:
        now = page.evaluate(state)
        assert not now["errors"], now["errors"][0]
        if not now["waiting"]: break
        assert time.time() < end, f"{now['waiting']} cells have not run after {limit} s"
        time.sleep(0.5)
    return page.evaluate("""() => [...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output')].map(o => [o.dataset.mimeType || '', o.innerText])""")


def pictures(page):
    "Widths of the pictures that outputs show, 0 for one which did not load."
    return page.evaluate("""() => [...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output img')].map(i => i.complete && i.naturalWidth > 0 ? i.getBoundingClientRect().width : 0)""")


def test_cover_opens_rendered(lab, page):
    page.goto(f"{lab}/?token=book")
    heading = page.wait_for_selector(".jp-MarkdownViewer h1")
    assert heading.is_visible() and heading.inner_text().strip(" ¶") == "Deep Learning from Scratch"
    assert not page.query_selector(".jp-FileEditor"), "the source is open"
    page.wait_for_function("() => { const i = document.querySelector('.jp-MarkdownViewer img'); return i && i.complete && i.naturalWidth > 300 }")
    assert page.query_selector(".jp-MarkdownViewer a:has-text('Perceptrons')")
    assert "{" not in page.inner_text(".jp-MarkdownViewer h1"), "Quarto's attributes show"


def test_perceptron_chapter_reads_digits(lab, page):
    outputs = run_all(page, lab, "engine/11_perceptrons.ipynb")
    said = "\n".join(text for _, text in outputs)
    accuracies = [float(a) for line in said.splitlines() if re.search(r"held|test|accura", line, re.I) for a in re.findall(r"(\d{2,3}\.\d+) ?%", line)]
    assert max(accuracies, default=0) >= 97.5, said[-2000:]
    shown = pictures(page)
    assert len(shown) >= 3 and min(shown) > 100, shown
