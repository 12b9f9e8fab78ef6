"""A report's page, taken apart."""

import re
from html.parser import HTMLParser

from toolkit.report import write_report


class Page(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.scripts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        inside = self.elements[-1][0] if self.elements else ""
        (self.scripts if inside == "script" else self.text).append(data)

    @property
    def ids(self):
        return {a["id"] for _, a in self.elements if "id" in a}

    @property
    def plain(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def page_of(run):
    return Page(write_report(run).read_text(encoding="utf-8"))
