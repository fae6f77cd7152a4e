"""The built documentation, looked at as a browser and a screen reader would.

    python tests/programs/site.py build/docs

Each link inside the site leads to a page and an anchor that exist. Each page tells its
language, has a title and one heading of the first level, skips no level, and has words for
each picture; each link has words, too.
"""

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

GENERATED = ("genindex.html", "py-modindex.html", "search.html")


class Page(HTMLParser):
    """What a page has: links, anchors, and complaints about the rest."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.complaints = [], {"", "top"}, []
        self.levels, self.open_links = [], []
        self.feed(text)
        if self.levels.count(1) != 1:
            self.complaints.append(f"{self.levels.count(1)} headings of level 1")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id", ""))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        if tag == "html" and not attributes.get("lang"):
            self.complaints.append("no language")
        if tag == "img":
            self.handle_data(attributes.get("alt") or "")
            if not attributes.get("alt"):
                self.complaints.append(f"no words for {attributes.get('src', '')[:60]}")
        if tag == "a" and "href" in attributes:
            words = attributes.get("aria-label") or attributes.get("title") or ""
            self.open_links.append([attributes["href"], words])
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.heading(int(tag[1]))

    def heading(self, level):
        if self.levels and level > self.levels[-1] + 1:
            self.complaints.append(f"a heading of level {level} after {self.levels[-1]}")
        self.levels.append(level)

    def handle_data(self, data):
        for link in self.open_links:
            link[1] += data.strip()

    def handle_endtag(self, tag):
        if tag == "a" and self.open_links:
            target, words = self.open_links.pop()
            if not words:
                self.complaints.append(f"no words for the link to {target[:60]}")


@cache
def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


def broken(path, link, root):
    """Return whether a link inside the site leads nowhere."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = path.parent / unquote(parts.path) if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return True
    is_page = target.suffix == ".html" and root in target.resolve().parents
    return is_page and unquote(parts.fragment) not in page_of(target.resolve()).anchors


def complaints(root):
    for path in sorted(root.rglob("*.html")):
        page, name = page_of(path), path.relative_to(root)
        if "_static" in name.parts or "_modules" in name.parts:
            continue
        for link in dict.fromkeys(page.links):
            if broken(path, link, root):
                yield f"{name}: {link} leads nowhere"
        if name.name not in GENERATED:
            yield from (f"{name}: {complaint}" for complaint in page.complaints)


if __name__ == "__main__":
    found = list(complaints(Path(sys.argv[1]).resolve(strict=True)))
    print(*found, sep="\n")
    sys.exit(bool(found))
