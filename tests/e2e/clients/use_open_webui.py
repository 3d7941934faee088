"""A person at the Open WebUI of URL, whose Ollama is the front; BROWSER is Chromium. Screenshots go to FOLDER."""

import sys
from pathlib import Path

from calls import make
from playwright.sync_api import sync_playwright

url, browser, folder = sys.argv[1:]
PULLED = "mistral:7b"


class Person:
    """At a page. Everything is waited for as long as Playwright does, here a minute."""

    def __init__(self, page):
        self.page = page
        page.set_default_timeout(60_000)
        # The news of a version, whenever they come.
        page.add_locator_handler(page.get_by_text("Okay, Let's Go!"), lambda button: button.click())

    def see(self, name):
        self.page.screenshot(path=Path(folder) / f"{name}.png")

    def pick_list(self):
        """Open the chat, and the list of models in it."""
        self.page.goto(url)
        self.page.click("#model-selector-model-button")
        self.page.wait_for_selector("[aria-label^='Select ']")
        self.see("pick-list")
        labels = [one.get_attribute("aria-label") for one in self.page.query_selector_all("[aria-label^='Select ']")]
        return [label.removeprefix("Select ").removesuffix(" model") for label in labels if label.endswith(" model")]

    def chat(self, model):
        """Choose a model and say hello; return what is said, once it is all there."""
        self.page.click(f"[aria-label='Select {model} model']")
        self.page.click("#chat-input")
        self.page.keyboard.type("hello")
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("button[aria-label='Regenerate']", state="attached")
        self.see("chat")
        return self.page.inner_text(".chat-assistant")

    def pull(self):
        """Pull a model where connections are managed; return the message that it is there."""
        self.page.goto(f"{url}/admin/settings/connections")
        self.page.click("button[aria-label='Manage'] >> nth=0")
        field = "input[placeholder^='Enter model tag']"
        self.page.fill(field, PULLED)
        self.page.click(f"{field} >> xpath=../.. >> button")
        self.see("pull-begun")
        said = self.page.wait_for_selector("text=has been successfully downloaded").inner_text()
        self.see("pulled")
        return said

    def pick_list_with_what_came(self):
        """Open the chat anew."""
        self.page.goto(url)
        self.page.click("#model-selector-model-button")
        self.page.wait_for_selector(f"[aria-label='Select {PULLED} model']")
        self.see("pick-list-with-what-came")
        return True


with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
    person = Person(chromium.new_page(viewport={"width": 1280, "height": 800}))
    make(
        {
            "pick list": person.pick_list,
            "chat": lambda: person.chat("beta:7b"),
            "pull": person.pull,
            "pick list with what came": person.pick_list_with_what_came,
        }
    )
    chromium.close()
