"""A drill's page as a browser lays it out: nothing cut off, nothing on top of another, nothing invisible."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftd.drill.report import judged
from ftd.drill.report_page import page
from tests.browser.conftest import Browse
from tests.unit.drill.records import answers, record

pytestmark = pytest.mark.timeout(600)  # the first one may have to install the browser

# The page itself has no script. This one is added to a copy, to ask the browser where everything is.
PROBE = """
<script>
const shown = [], texts = [], root = document.documentElement;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, parent = node.parentElement;
  if (!node.data.trim() || ["SCRIPT", "STYLE", "title"].includes(parent.tagName)) continue;
  const range = document.createRange(); range.selectNodeContents(node);
  const box = range.getBoundingClientRect(), style = getComputedStyle(parent);
  const svg = parent.closest("svg"), frame = svg ? svg.getBoundingClientRect() : null;
  texts.push({text: node.data.trim(), left: box.left, right: box.right, top: box.top, bottom: box.bottom,
    color: svg ? style.fill : style.color, hidden: style.visibility !== "visible" || style.display === "none",
    kind: parent.getAttribute("class"),
    svg: svg ? Array.from(document.querySelectorAll("svg")).indexOf(svg) : -1,
    inside: !frame || (box.left >= frame.left - 1 && box.right <= frame.right + 1 &&
                       box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1)});
}
const parts = {};
for (const element of document.querySelectorAll("svg [class]"))
  if (element.getBoundingClientRect().width + element.getBoundingClientRect().height > 0)
    parts[element.getAttribute("class")] = (parts[element.getAttribute("class")] || 0) + 1;
const found = {texts, parts, width: root.clientWidth, wide: root.scrollWidth,
  ground: getComputedStyle(document.body).backgroundColor,
  pictures: Array.from(document.querySelectorAll("svg")).map(svg => svg.getBoundingClientRect().height)};
const out = document.createElement("pre"); out.id = "found"; out.textContent = JSON.stringify(found);
document.body.append(out);
</script>
"""
LONG = record(
    vm="a-name-of-the-greatest-length-that-a-virtual-machine-may-have-63x",
    answers=answers(breaches=["the-hash-is-not-the-chain's-" * 12]),
    problem="nobody has taken the guest over, 30.5 s after the fault",
)


def laid_out(browse: Browse, folder: Path, text: str, **window: Any) -> dict[str, Any]:
    copy = folder / "copy.html"
    copy.write_text(text.replace("</body>", f"{PROBE}</body>"))
    dom = browse(copy, **window)
    match = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert match is not None, dom[-2000:]
    unescaped = match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    found: dict[str, Any] = json.loads(unescaped)
    return found


def html(found: Any) -> str:
    result = judged(found)
    return page(found, result.figures, result.verdict)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [500, 1060])
@pytest.mark.parametrize("found", [record(), LONG], ids=["passed", "failed"])
def test_the_page_is_laid_out_whole(
    browse: Browse, tmp_path: Path, found: Any, width: int, dark: bool
) -> None:
    seen = laid_out(browse, tmp_path, html(found), width=width, dark=dark)
    assert seen["wide"] <= seen["width"], "it has to be scrolled sideways"
    assert len(seen["texts"]) > 60
    for text in seen["texts"]:
        assert not text["hidden"], text
        assert text["right"] > text["left"], text
        assert text["bottom"] > text["top"], text
        assert text["inside"], text
        assert text["left"] >= -1, text
        assert text["right"] <= seen["width"] + 1, text
    ground = luminance(seen["ground"])
    assert (ground < 0.2) is dark
    for text in seen["texts"]:
        if text["kind"] not in ("in-bar", "letter", "pill passed", "pill failed"):
            assert contrast(luminance(text["color"]), ground) >= 3.9, text


def luminance(color: str) -> float:
    """Relative, as WCAG 2 reckons it, of `rgb(r, g, b)`."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """From 1, none, to 21."""
    light, dark = max(one, other), min(one, other)
    return (light + 0.05) / (dark + 0.05)


def test_the_pictures_have_their_parts(browse: Browse, tmp_path: Path) -> None:
    seen = laid_out(browse, tmp_path, html(record()))
    assert len(seen["pictures"]) == 2
    assert all(height > 300 for height in seen["pictures"])
    least = {"answer": 200, "gap": 2, "state good": 6, "state alone": 2, "epoch": 4, "heartbeat": 4}
    for kind, count in least.items():
        assert seen["parts"].get(kind, 0) >= count, (kind, seen["parts"])


def test_labels_of_a_picture_do_not_lie_on_each_other(browse: Browse, tmp_path: Path) -> None:
    texts = [text for text in laid_out(browse, tmp_path, html(record()))["texts"] if text["svg"] >= 0]
    for index, one in enumerate(texts):
        for other in texts[index + 1 :]:
            if one["svg"] == other["svg"]:
                overlap_x = min(one["right"], other["right"]) - max(one["left"], other["left"])
                overlap_y = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
                assert overlap_x < 1 or overlap_y < 4, (one["text"], other["text"])


def test_it_can_be_printed(browse: Browse, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(html(record()))
    printed = tmp_path / "report.pdf"
    browse(path, options=(f"--print-to-pdf={printed}", "--no-pdf-header-footer"))
    data = printed.read_bytes()
    assert data.startswith(b"%PDF-")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 5
