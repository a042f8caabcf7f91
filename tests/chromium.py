"""A headless Chromium for the tests, driven through Debian's chromedriver; where one is missing, its tests skip.

Fixtures: ``chromium``, one browser for all tests of a process, and ``open_window``, windows for one test.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.servers import wait_for

T = TypeVar("T")

FLAGS = (
    "--headless=new",
    # its sandbox refuses root, who runs the tests in containers
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # it talks to nobody but the page's server
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--no-first-run",
    # windows behind others live on
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)


def _program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"{names[0]} is not installed")


class Window:
    """One window of the browser. Elements are named by CSS selectors."""

    def __init__(self, driver: Any) -> None:
        from selenium.common.exceptions import WebDriverException

        self._driver = driver
        self._webdriver_error = WebDriverException
        driver.switch_to.new_window("window")
        self._handle = driver.current_window_handle

    @property
    def driver(self) -> Any:
        """Selenium's driver, with this window in front."""
        self._driver.switch_to.window(self._handle)
        return self._driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, selector: str) -> Any:
        """The first element that matches, as soon as there is one."""
        return self.wait_until(lambda: self.driver.find_element("css selector", selector), selector)

    def texts(self, selector: str) -> list[str]:
        """The text content of all that match: as it stands in the document, seen or not."""
        return self.script(
            "return [...document.querySelectorAll(arguments[0])].map(each => each.textContent)", selector
        )

    def type(self, selector: str, text: str, enter: bool = False) -> None:
        self.find(selector).send_keys(text + "\n" * enter)

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def script(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(code, *arguments)

    def wait_until(self, condition: Callable[[], T], what: str, timeout: float = 30) -> T:
        """Poll until ``condition()`` is true. An error counts as not yet: one page may just give way to another."""
        error: Exception | None = None

        def met() -> T | None:
            nonlocal error
            try:
                return condition()
            except self._webdriver_error as raised:
                error = raised
                return None

        try:
            return wait_for(met, what, timeout)  # type: ignore[return-value]
        except AssertionError as failure:
            raise AssertionError(f"{failure}; last error {error!r}; the console: {self.console()}") from None

    def wait_for_text(self, selector: str, text: str, timeout: float = 30) -> None:
        """Wait until exactly this text stands in one of the matching elements."""
        self.wait_until(lambda: text in self.texts(selector), f"{text!r} in {selector}", timeout)

    def console(self) -> list[str]:
        """What the page and the browser have written to the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def resize(self, width: int, height: int) -> None:
        """The size of the page inside, phones included, which are narrower than any real window."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def emulate_media(self, **features: str) -> None:
        """E.g. ``emulate_media(prefers_color_scheme="dark")``."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    def screenshot(self, path: object) -> None:
        self.driver.save_screenshot(str(path))

    def close(self) -> None:
        self.driver.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Selenium's driver of a new browser without a past."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # with a path given, Selenium downloads no driver
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(_program("chromedriver")))
    try:
        driver.set_page_load_timeout(60)
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def open_window(chromium: Any) -> Iterator[Callable[..., Window]]:
    """``open_window(url)`` is a new window; all are closed, and their cookies forgotten, after the test."""
    first = chromium.current_window_handle
    windows: list[Window] = []

    def open_one(url: str) -> Window:
        windows.append(Window(chromium))
        windows[-1].open(url)
        return windows[-1]

    yield open_one
    for window in windows:
        window.driver.delete_all_cookies()
        window.close()
    chromium.switch_to.window(first)
