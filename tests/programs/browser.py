"""The built documentation, opened in Chromium: wide and narrow, light and dark.

    python tests/programs/browser.py build/docs [--pictures FOLDER]

No page logs an error, lacks a picture or a file, or is wider than its window; and axe finds
no serious fault of accessibility. Needs playwright, axe-playwright-python and chromium.
"""

import argparse
import itertools
import shutil
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

PAGES = (
    "index",
    "tutorial",
    "which-call",
    "how-it-works",
    "performance",
    "howto/tokens",
    "notebooks/train-on-tokens",
    "reference/mmap",
)
WIDTHS = {"wide": 1280, "narrow": 390}
SCHEMES = ("light", "dark")
HEIGHT = 900
GRAVE = ("serious", "critical")
EXCUSED = {
    "scrollable-region-focusable": "browsers let the keyboard reach what scrolls",
    "summary-name": "the arrows of the theme's navigation, beside links with words",
}

# Pixels by which a page is wider than its window, and the pictures that are not there.
LOOK = """() => ({
    excess: document.documentElement.scrollWidth - window.innerWidth,
    missing: [...document.images]
        .filter(image => image.complete && !image.naturalWidth)
        .map(image => image.src),
})"""


def seen(browser, url, width, scheme, picture):
    """Yield what is wrong with a page, as seen in a window of a width."""
    with browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme=scheme
    ) as context:
        page, wrong = context.new_page(), []
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("requestfailed", lambda request: wrong.append(f"no file {request.url}"))
        page.goto(url)
        page.evaluate("scrollTo(0, document.body.scrollHeight)")  # loads lazy pictures
        page.wait_for_load_state("networkidle")
        found = page.evaluate(LOOK)
        wrong += [f"no picture {source}" for source in found["missing"]]
        if found["excess"] > 0:
            wrong.append(f"{found['excess']} pixels wider than the window")
        wrong += faults_of_accessibility(page)
        if picture:
            page.screenshot(path=picture, full_page=True)
    yield from wrong


def faults_of_accessibility(page):
    for fault in Axe().run(page).response["violations"]:
        if fault["impact"] in GRAVE and fault["id"] not in EXCUSED:
            places = ", ".join(str(node["target"][0]) for node in fault["nodes"][:3])
            yield f"{fault['id']}: {fault['help']} ({len(fault['nodes'])}: {places})"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(root):
    """Serve a folder, and yield its address: a browser refuses some files of a disk."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def complaints(root, pictures):
    with served(root) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for page, size, scheme in itertools.product(PAGES, WIDTHS, SCHEMES):
            url = f"{address}/{page}.html"
            name = f"{page.replace('/', '-')}-{size}-{scheme}"
            picture = pictures and pictures / f"{name}.png"
            for wrong in seen(browser, url, WIDTHS[size], scheme, picture):
                yield f"{name}: {wrong}"
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pictures", type=Path)
    asked = parser.parse_args()
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    found = list(complaints(asked.root.resolve(strict=True), asked.pictures))
    print(*found, sep="\n")
    sys.exit(bool(found))
