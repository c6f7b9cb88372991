"""The page in Debian's Chromium: every path that a visitor can take, by mouse and by keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toys import imprinting_samples
from web_toys import ATTRIBUTOR, InProcess, Running

import morelli
from morelli.web.application import build
from morelli.web.bench import Bench
from morelli.web.settings import Limits, Settings

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium (apt-get install chromium)")
PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True}
DONE = "article[aria-busy=false]"
DROP = """([names, contents]) => {
  const data = new DataTransfer();
  names.forEach((name, i) => data.items.add(new File([new Uint8Array(contents[i])], name, { type: 'image/png' })));
  for (const kind of ['dragenter', 'dragover', 'drop'])
    document.getElementById('drop')
      .dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An own picture, one of another generator, one of another size, and two that are none."""
    place = tmp_path_factory.mktemp("files")
    for name, samples in (("own", imprinting_samples(1, 7)), ("other", imprinting_samples(1, 7, generator_seed=1))):
        morelli.write_image(samples[0], place / f"{name}.png", morelli.SampleSpec((3, 32, 32)))
    morelli.write_image(imprinting_samples(1, 7)[0][:, :20, :20], place / "small.png", morelli.SampleSpec((3, 20, 20)))
    (place / "torn.png").write_bytes((place / "own.png").read_bytes()[:90])
    (place / "model.zip").write_bytes(b"PK\x03\x04" + b"\0" * 90)
    return {path.name: path for path in place.iterdir()}


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(Settings((ATTRIBUTOR,)))


@pytest.fixture(scope="module")
def site(bench: Bench) -> Iterator[Callable[..., str]]:
    """Call it for the address of a server with these settings."""
    running: list[Running] = []

    def site(token: str | None = None, **limits: Any) -> str:
        settings = Settings((ATTRIBUTOR,), token=token, limits=Limits(**limits))
        running.append(Running(build(settings, [InProcess(bench)], json.loads(json.dumps(bench.about())))))
        return running[-1].__enter__()

    yield site
    for each in running:
        each.__exit__()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def usual(site: Callable[..., str]) -> str:
    return site(rate_limit=0)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page; in the end there must have been no error in the console, and no request to anywhere else."""
    contexts: list[Any] = []
    faults: list[str] = []

    def visit(url: str, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        allowed = (url, "blob:", "data:")
        page.on("request", lambda asked: None if asked.url.startswith(allowed) else faults.append(asked.url))
        page.goto(url)
        page.locator("#desk:visible, #entry:visible").first.wait_for()
        page.faults = faults
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def verdicts(page: Any, count: int) -> list[str]:
    page.locator(DONE).nth(count - 1).wait_for()
    return page.locator(".verdict").all_inner_texts()


def test_several_files_and_their_history(visit: Any, usual: str, files: dict[str, Path]) -> None:
    page = visit(usual)
    assert page.locator("h1").inner_text() == "Did images-1 make it?"
    page.set_input_files("#files", list(files.values()))
    found = dict(zip([f.name for f in files.values()], verdicts(page, len(files)), strict=True))
    assert found["own.png"] == "Attributed"
    assert found["other.png"] == "Not attributed"
    assert found["small.png"] in ("Inconclusive", "Not a sample that is read here")
    assert found["torn.png"] == found["model.zip"] == "Not a sample that is read here"
    assert "model.zip is a ZIP archive" in page.locator("#cards").inner_text()
    plots = page.locator("figure.scores svg title")
    assert plots.count() == 2
    assert "Held-out own samples score" in plots.first.text_content()
    page.set_input_files("#files", files["own.png"])  # the history grows on top
    assert verdicts(page, 6)[0] == "Attributed"
    assert "2 attributed" in page.locator("#counts").inner_text()
    page.get_by_role("button", name="Forget all").click()
    assert page.locator("article").count() == 0
    assert not page.locator("#visit").is_visible()
    page.set_input_files("#files", files["own.png"])
    verdicts(page, 1)
    page.reload()
    assert page.locator("article").count() == 0
    stored = page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]")
    assert stored == [0, 0, ""]


def test_dropped_files(visit: Any, usual: str, files: dict[str, Path]) -> None:
    page = visit(usual)
    page.locator("#drop").wait_for()
    names = ["own.png", "other.png"]
    page.evaluate(DROP, [names, [list(files[name].read_bytes()) for name in names]])
    assert verdicts(page, 2) == ["Attributed", "Not attributed"]
    assert not page.locator("#drop.over").count()
    preview = page.locator(".picture img").first
    assert preview.is_visible()
    assert preview.evaluate("image => image.naturalWidth") == 32


def test_downloads(visit: Any, usual: str, files: dict[str, Path]) -> None:
    page = visit(usual)
    page.set_input_files("#files", [files["own.png"], files["other.png"]])
    verdicts(page, 2)
    with page.expect_download() as report:
        page.locator("article .page").first.click()
    assert report.value.suggested_filename == "own.png.html"
    assert "own.png" in Path(report.value.path()).read_text()
    with page.expect_download() as printed:
        page.locator("article .pdf").first.click()
    assert Path(printed.value.path()).read_bytes().startswith(b"%PDF")
    with page.expect_download() as single:
        page.locator("article .json").nth(1).click()
    assert json.loads(Path(single.value.path()).read_text())["report"]["verdicts"][0]["file"] == "other.png"
    with page.expect_download() as whole:
        page.locator("#all-page").click()
    text = Path(whole.value.path()).read_text()
    assert "own.png" in text and "other.png" in text
    with page.expect_download() as everything:
        page.locator("#all-json").click()
    assert [each["file"] for each in json.loads(Path(everything.value.path()).read_text())] == ["own.png", "other.png"]


def test_by_keyboard_alone(visit: Any, usual: str, files: dict[str, Path]) -> None:
    page = visit(usual)
    page.on("filechooser", lambda _: None)  # Playwright does not wait until the browser knows that it listens
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the verdicts"
    page.keyboard.press("Tab")
    assert page.locator(":focus").get_attribute("id") == "files"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([files["own.png"], files["other.png"]])
    verdicts(page, 2)
    assert (
        "other.png: Not attributed." in page.locator("#said").inner_text()
        or "own.png: Attributed." in page.locator("#said").inner_text()
    )
    passed = []
    for _ in range(6):
        page.keyboard.press("Tab")
        passed.append(page.locator(":focus").inner_text())
    assert passed == ["Report", "PDF", "JSON", "Forget all", "What the file says", "Report"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    assert "SHA-256" in page.locator("dl").first.inner_text()
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Remove"
    page.keyboard.press("Enter")
    assert page.locator("article").count() == 1
    assert page.locator(":focus").get_attribute("class") == "not-attributed"  # focus is not lost


def test_everything_has_a_name(visit: Any, usual: str, files: dict[str, Path]) -> None:
    """What a screen reader is told."""
    page = visit(usual)
    page.set_input_files("#files", [files["own.png"]])
    verdicts(page, 1)
    assert page.get_by_role("article", name="own.png").count() == 1
    assert page.get_by_label("Choose files").count() == 1
    assert page.get_by_role("status").count() == 1
    assert page.get_by_role("region", name="This visit").count() == 1
    assert page.get_by_role("img", name="This sample scores").count() == 1
    for button in page.locator("button:visible").all():
        assert button.inner_text().strip()
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_width(visit: Any, usual: str, files: dict[str, Path], scheme: str) -> None:
    """Texts stand out by 4.5 to 1 (WCAG AA), and a phone need not scroll sideways."""
    page = visit(usual, color_scheme=scheme, reduced_motion="reduce", **PHONE)
    page.set_input_files("#files", [files["own.png"], files["other.png"], files["torn.png"]])
    verdicts(page, 3)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    for selector in (
        "h1",
        "#about",
        "#accepts",
        ".button",
        ".verdict",
        ".words",
        "h3",
        "summary",
        "figcaption",
        "footer p",
        "svg text",
    ):
        for found in page.locator(selector).all():
            assert contrast(found) >= 4.5, (selector, found.inner_text() if selector != "svg text" else "")
    for button in page.locator("button:visible, .button").all():
        assert button.bounding_box()["height"] >= 44
    assert page.locator("#drop").evaluate("box => getComputedStyle(box).transitionDuration") == "0s"


COLOURS = """element => {
  const paint = getComputedStyle(element);
  let behind = element, ground = '';
  while (behind && (!ground || ground.endsWith(', 0)'))) {
    ground = getComputedStyle(behind).backgroundColor;
    behind = behind.parentElement;
  }
  const drawn = element.namespaceURI.endsWith('svg') && paint.fill !== 'currentcolor';
  const front = drawn ? paint.fill : paint.color;
  return [front, ground].map((colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number));
}"""


def contrast(element: Any) -> float:
    front, ground = (luminance(colour) for colour in element.evaluate(COLOURS))
    return (max(front, ground) + 0.05) / (min(front, ground) + 0.05)


def luminance(colour: list[float]) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_token_is_asked_for(visit: Any, site: Callable[..., str], files: dict[str, Path]) -> None:
    page = visit(site(token="sesame"))
    page.get_by_label("This server asks for a token").fill("guess")
    page.keyboard.press("Enter")
    page.get_by_text("That is not the token.").wait_for()
    assert len(page.faults) == 1 and "401" in page.faults.pop()  # browsers report it
    page.get_by_label("This server asks for a token").fill("sesame")
    page.get_by_role("button", name="Go on").click()
    page.locator("#drop").wait_for()
    page.set_input_files("#files", files["own.png"])
    assert verdicts(page, 1) == ["Attributed"]


def test_a_busy_server_is_waited_for(visit: Any, site: Callable[..., str], files: dict[str, Path]) -> None:
    page = visit(site(rate_limit=60))
    page.set_input_files("#files", [files["own.png"]] * 62)
    assert set(verdicts(page, 62)) == {"Attributed"}
    assert all("429" in fault for fault in page.faults)
    page.faults.clear()


def test_files_that_are_too_large_and_a_server_that_is_gone(
    visit: Any, site: Callable[..., str], files: dict[str, Path], tmp_path: Path
) -> None:
    url = site(max_bytes=10_000)
    page = visit(url)
    (tmp_path / "large.png").write_bytes(b"\0" * 20_000)
    page.set_input_files("#files", [tmp_path / "large.png"])
    assert verdicts(page, 1) == ["Could not be judged"]
    page.route("**/v1/attribute*", lambda route: route.abort())
    page.set_input_files("#files", files["own.png"])
    page.get_by_text("The server cannot be reached.", exact=True).wait_for()
    page.unroute("**/v1/attribute*")
    page.get_by_role("button", name="Try again").first.click()
    page.get_by_text("Attributed", exact=True).wait_for()
    assert all("ERR_FAILED" in fault for fault in page.faults)
    page.faults.clear()
