#!/usr/bin/env python3
"""Opens reports in headless Chromium (Debian: apt install chromium) and uses them: python3 bench/report_page.py [FOLDER]

Checks that a page loads without errors and asks no network, draws its charts, filters and sorts tables, zooms by mouse
and keyboard, smooths, averages over seeds, prints, and runs no script from hostile text; and how long 1,000 runs and a
million points take. Screenshots in light and dark go to FOLDER, to be looked at.
"""
import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

here = pathlib.Path(__file__).resolve().parent
engine = here.parent / "engine"


class Browser:
    """Speaks the DevTools protocol over a pipe."""

    def __init__(self):
        down, up = os.pipe(), os.pipe()
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                   "--remote-debugging-pipe", "--window-size=1400,1000", f"--user-data-dir={tempfile.mkdtemp()}"]
        wrapper = f"exec 3<&{down[0]} 4>&{up[1]}; exec " + " ".join(command)
        self.process = subprocess.Popen(["bash", "-c", wrapper], pass_fds=(down[0], up[1]), stderr=subprocess.DEVNULL)
        os.close(down[0])
        os.close(up[1])
        self.to, self.source = os.fdopen(down[1], "wb", 0), os.fdopen(up[0], "rb", 0)
        self.number, self.rest, self.events, self.session = 0, b"", [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.to.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def read(self):
        while b"\0" not in self.rest:
            piece = self.source.read(1 << 20)
            assert piece, "chromium has ended"
            self.rest += piece
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (script, result)
        return result["result"].get("value")

    def open(self, path):
        """Returns the seconds until the page is ready and drawn."""
        self.events.clear()
        start = time.time()
        self.call("Page.navigate", url=path.as_uri())
        while self.run("document.documentElement && document.documentElement.dataset.ready") != "yes":
            assert time.time() - start < 60, "the page is never ready"
            time.sleep(0.02)
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.time() - start

    def problems(self):
        found = []
        for event in self.events:
            kind, said = event.get("method"), event.get("params", {})
            if kind == "Runtime.exceptionThrown" or kind == "Log.entryAdded" and said["entry"]["level"] == "error":
                found.append(json.dumps(said)[:400])
            if kind == "Network.requestWillBeSent" and not said["request"]["url"].startswith(("file:", "about:")):
                found.append("asks for " + said["request"]["url"])
            if kind == "Page.javascriptDialogOpening":
                found.append("opens a dialog")
        return found

    def picture(self, path, whole=True):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def mouse(self, kind, x, y):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left" if kind != "mouseMoved" else "none",
                  buttons=0 if kind == "mouseReleased" else 1, clickCount=1)

    def key(self, key, text=""):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


def check(condition, what):
    print("ok    " if condition else "WRONG ", what, flush=True)
    check.failed |= not condition


check.failed = False
inked = """(() => { const c = document.querySelectorAll('canvas')[%d], p = c.getContext('2d');
  const d = p.getImageData(0, 0, c.width, c.height).data; let n = 0;
  for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()"""


def type_into(browser, selector, text):
    browser.run(f"(() => {{ const i = document.querySelector({selector!r}); i.value = {text!r}; "
                "i.dispatchEvent(new Event('input')); })()")


def use(browser, page, pictures):
    browser.open(page)
    check(browser.run("charts.length") == 7, "a chart for each of seven metrics")
    check(all(browser.run(inked % i) > 1000 for i in range(2)), "charts are drawn")
    browser.picture(pictures / "light.png")
    rows = "document.querySelectorAll('#predictions .scroll')[%d].querySelectorAll('tbody tr').length"
    last = browser.run("document.querySelectorAll('#predictions .scroll').length") - 1
    before = browser.run(rows % last)
    browser.run("document.querySelectorAll('#predictions input[type=search]')[0].id = 'wrong'")
    type_into(browser, "#wrong", "neutral sentence")
    after = browser.run(rows % last)
    check(0 < after < before, f"the table of wrong predictions is filtered: {after} of {before}")
    browser.run("[...document.querySelectorAll('#results thead button')].find((b) => b.textContent === 'loss').click()")
    column = browser.run("[...document.querySelectorAll('#results table')[0].rows].slice(1).map((r) => "
                         "Number(r.cells[5].textContent))")
    check(column == sorted(column, reverse=True), "a click on its head sorts a column")
    box = browser.run("(() => { const c = document.querySelector('canvas'); c.scrollIntoView({block: 'center'}); "
                      "const b = c.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()")
    left, top, width, height = box
    browser.mouse("mousePressed", left + width * 0.4, top + height / 2)
    browser.mouse("mouseMoved", left + width * 0.7, top + height / 2)
    browser.mouse("mouseReleased", left + width * 0.7, top + height / 2)
    drawn = browser.run("view.range")
    check(bool(drawn) and 2000 < drawn[0] < drawn[1] < 18000, f"a drag zooms: {drawn}")
    check(browser.run("charts[0].readout.textContent").startswith("step"), "values are read at the mouse")
    browser.picture(pictures / "zoomed.png", whole=False)
    browser.run("document.querySelector('canvas').focus()")
    browser.key("0", "0")
    check(browser.run("view.range") is None, "the key 0 shows all again")
    browser.key("+", "+")
    check(bool(browser.run("view.range")), "the key + zooms")
    browser.key("Escape")
    browser.key("ArrowRight")
    check(browser.run("charts[0].cursor") is not None, "arrows move the place that is read")
    for label in ("log y", "mean over seeds"):
        browser.run(f"[...document.querySelectorAll('#curves label')].find((l) => l.textContent.includes({label!r}))"
                    ".querySelector('input').click()")
    check(browser.run("view.logY && view.averaged && charts[0].frame.isLogarithmic"), "log scale and mean over seeds")
    browser.run("(() => { const s = document.querySelectorAll('#curves select')[0]; s.value = 'tokens'; "
                "s.dispatchEvent(new Event('change')); })()")
    check(browser.run("charts[0].unscale(charts[0].frame.high)") == 40960000, "the axis counts tokens")
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    time.sleep(0.2)
    browser.picture(pictures / "dark.png")
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    check(printed.startswith(b"%PDF") and len(printed) > 50000, f"prints: {len(printed)} bytes")
    (pictures / "printed.pdf").write_bytes(printed)
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    check(browser.problems() == [], f"no errors, no network: {browser.problems()}")


def hostile(browser, folder):
    attack = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2><!--"
    run = folder / "hostile" / "<img src=x onerror=window.hacked=3>"
    (run / "samples").mkdir(parents=True)
    (run / "task.cfg").write_text(f"task = 'gpt'\ninit = '''{attack}'''\n")
    (run / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0, attack.replace("/", ""): 2.0}) + "\n")
    (run / "samples" / "step_1.txt").write_text(attack)
    (run / "predictions.jsonl").write_text(json.dumps({"input": attack, "label": attack, "prediction": "b"}) + "\n")
    page = folder / "hostile.html"
    subprocess.run([engine, "report", run, "--output", page, "--title", attack], check=True)
    browser.open(page)
    time.sleep(0.3)
    check(browser.run("window.hacked === undefined"), "hostile text runs no script")
    check(browser.run("document.querySelectorAll('img').length") == 0, "hostile text makes no element")
    check(browser.run("document.querySelector('#samples pre').textContent").startswith("</script>"), "it is shown")
    check(browser.problems() == [], f"no errors: {browser.problems()}")


def main():
    pictures = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="report_page_"))
    pictures.mkdir(parents=True, exist_ok=True)
    browser = Browser()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def report(kind, runs, lines):
            subprocess.run([sys.executable, here / "report_runs.py", folder / kind, str(runs), str(lines)], check=True)
            start = time.time()
            subprocess.run([engine, "report", folder / kind, "--output", folder / f"{kind}.html"], check=True)
            return folder / f"{kind}.html", time.time() - start

        use(browser, report("six", 6, 2000)[0], pictures)
        hostile(browser, folder)
        for kind, runs, lines in (("thousand", 1000, 100), ("million", 1, 125000)):
            page, made = report(kind, runs, lines)
            opened = browser.open(page)
            again = browser.run("(() => { const t = performance.now(); redraw(); return performance.now() - t; })()")
            check(made < 20 and opened < 10, f"{kind}: made in {made:.2f} s, {page.stat().st_size / 1e6:.1f} MB, "
                  f"opened in {opened:.2f} s, drawn again in {again:.0f} ms")
            browser.picture(pictures / f"{kind}.png", whole=False)
            check(browser.problems() == [], f"{kind}: no errors: {browser.problems()[:2]}")
    browser.process.terminate()
    print("pictures are in", pictures)
    sys.exit(check.failed)


main()
