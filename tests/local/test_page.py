"""The page of the local endpoint, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from azinfer.core import InferenceClient, RateLimit, UserMessage
from azinfer.local import Latency, LocalDeployment, LocalEndpoint, SyntheticEngine

_INSTALLED = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium: the machine's, or the one that Playwright fetched."""
    path = next(filter(None, map(shutil.which, _INSTALLED)), None)
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=quiet)
        except Error as error:
            pytest.skip(f"there is no browser to be had here: {error.message.splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments of one model under different configurations."""
    deployments = [
        LocalDeployment(
            "Chat-Standard",
            "mistral-large-2411",
            SyntheticEngine("Paris."),
            model_version="2411",
            rate_limits=(RateLimit("request", 3, 600), RateLimit("token", 5000, 600)),
        ),
        LocalDeployment(
            "Chat-PTU",
            "mistral-large-2411",
            SyntheticEngine("<b>Rome</b> & more"),
            capacity_type="ProvisionedManaged",
            capacity=2,
            content_filter="strict-policy",
        ),
    ]
    with LocalEndpoint(deployments, key="local-key") as endpoint:
        yield endpoint


@pytest.fixture
def page(browser: Browser, endpoint: LocalEndpoint) -> Iterator[Page]:
    """The page, opened with the key; what fails in it or comes from elsewhere is reported."""
    context = browser.new_context()
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda result: wrong.append(result.text) if result.type == "error" else None)
    page.on(
        "request",
        lambda sent: None if sent.url.startswith(endpoint.url) else wrong.append(sent.url),
    )
    page.goto(endpoint.page_url())
    yield page
    context.close()
    assert wrong == []


def test_the_page_shows_each_deployment_with_its_five_facts(page: Page) -> None:
    rows = page.locator("#deployments tbody tr")
    expect(rows).to_have_count(2)
    for fact in ("Chat-Standard", "mistral-large-2411", "2411", "GlobalStandard", "3 requests"):
        expect(rows.nth(0)).to_contain_text(fact)
    for fact in ("Chat-PTU", "ProvisionedManaged", "strict-policy"):
        expect(rows.nth(1)).to_contain_text(fact)


def test_an_upload_is_shown_with_its_fields_and_its_beginning(
    page: Page, endpoint: LocalEndpoint
) -> None:
    expect(page.locator("#state")).to_have_text("live")
    httpx.post(
        f"{endpoint.url}/openai/v1/files",
        files={"file": ("<b>.jsonl", b'{"custom_id": "<i>"}')},
        data={"purpose": "batch"},
        headers={"api-key": endpoint.key},
    )
    row = page.locator("#log tbody tr").first
    expect(row).to_contain_text("<b>.jsonl, 20 bytes")
    row.locator("summary").first.click()
    expect(row).to_contain_text('"purpose": "batch"')
    expect(row).to_contain_text('{"custom_id": "<i>"}')


def test_the_log_grows_during_requests(page: Page, endpoint: LocalEndpoint) -> None:
    expect(page.locator("#state")).to_have_text("live")
    with InferenceClient(endpoint.url, endpoint.key, max_retries=0) as client:
        client.complete([UserMessage("The capital of France?")], model="CHAT-standard")
    row = page.locator("#log tbody tr").first
    expect(row).to_contain_text("Chat-Standard")
    expect(row).to_contain_text("200")
    expect(row.locator("summary small")).to_have_text("The capital of France?")
    row.locator("summary").first.click()
    expect(row.locator("pre").first).to_contain_text('"content": "The capital of France?"')
    expect(row).to_contain_text("Paris.")
    expect(page.locator("#deployments tbody tr").first).to_contain_text("2 of 3")


def test_the_log_shows_spillover_and_streams(page: Page, endpoint: LocalEndpoint) -> None:
    full = replace(endpoint.deployments[1], capacity=1, spillover="chat-standard")
    # Of an answer that begins with "<", the client waits for more: it may be "<think>".
    story = SyntheticEngine("Once upon a time")
    endpoint.deploy(replace(full, engine=story, latency=Latency(0, 3600)))
    expect(page.locator("#state")).to_have_text("live")
    with InferenceClient(endpoint.url, endpoint.key, "chat-ptu") as client:
        with client.stream([UserMessage("A long story")]) as chunks:
            next(chunks)
            client.complete([UserMessage("A short one")])
            newest, oldest = (page.locator("#log tbody tr").nth(at) for at in (0, 1))
            expect(newest).to_contain_text("by spillover from Chat-PTU, which was full")
            expect(oldest).to_contain_text("streaming")
            expect(page.locator("#deployments tbody tr").nth(1)).to_contain_text("100% in use")
        expect(oldest).not_to_contain_text("streaming")
        expect(page.locator("#deployments tbody tr").nth(1)).to_contain_text("0% in use")


def test_the_log_shows_all_kinds_of_requests(page: Page, endpoint: LocalEndpoint) -> None:
    expect(page.locator("#state")).to_have_text("live")
    row = page.locator("#log tbody tr").first
    headers = {"api-key": endpoint.key, "content-type": "application/json"}
    with httpx.Client(base_url=f"{endpoint.url}/openai/v1", headers=headers) as http:
        parts = [{"role": "user", "content": [{"type": "input_text", "text": "Bonjour"}]}]
        http.post("/responses", json={"model": "chat-ptu", "input": parts})
        expect(row.locator("summary small")).to_have_text("Bonjour")
        http.post("/batches", json={"input_file_id": "none"})
        expect(row).to_contain_text("POST /openai/v1/batches")
        http.get("/files")
        expect(row).to_contain_text("GET /openai/v1/files")
        expect(row).not_to_contain_text("nowhere")
        http.post("/chat/completions", content=b'{"a" : 1.0, "a": 2}')
        expect(row).to_contain_text("POST /openai/v1/chat/completions")
        row.locator("summary").first.click()
        row.get_by_text("The raw body").click()
        expect(row.locator("details details pre")).to_have_text('{"a" : 1.0, "a": 2}')
        http.post("/chat/completion", json={})
        expect(row).to_contain_text("did you mean POST /openai/v1/chat/completions?")
        http.post("/chat/completions", content=b'{"half')
        expect(row.locator("pre").first).to_contain_text('{"half')
    assert endpoint.key not in page.content()


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
def test_the_page_and_the_log_show_the_wire(browser: Browser, wire: Any) -> None:
    with LocalEndpoint([LocalDeployment("any")], key="local-key") as endpoint:
        page = browser.new_page()
        page.goto(endpoint.page_url())
        expect(page.locator("#state")).to_have_text("live")
        with InferenceClient(endpoint.url, endpoint.key, "any", wire=wire) as client:
            client.complete([UserMessage("hi")])
            with client.stream([UserMessage("hi")]) as chunks:
                list(chunks)
        for at in (0, 1):
            expect(page.locator("#log tbody tr").nth(at)).to_contain_text(f"wire {wire}")
        page.close()
        log = httpx.get(
            f"{endpoint.url}/_azinfer/requests", headers={"api-key": endpoint.key}
        ).json()
    assert [each["wire"] for each in log["value"]] == [wire] * 2


def test_the_log_is_empty_after_a_reset(page: Page, endpoint: LocalEndpoint) -> None:
    expect(page.locator("#state")).to_have_text("live")
    with InferenceClient(endpoint.url, endpoint.key) as client:
        client.complete([UserMessage("Hello")], model="chat-ptu")
    expect(page.locator("#log tbody tr")).to_have_count(1)
    endpoint.reset()
    expect(page.locator("#log tbody tr")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_the_page_works_over_https(browser: Browser, secure: LocalEndpoint) -> None:
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(secure.page_url())
    expect(page.locator("#state")).to_have_text("live")
    page.click("#try button")
    expect(page.locator("#answer")).to_contain_text("This is a synthetic answer to: Write one")
    expect(page.locator("#log tbody tr").first).to_contain_text("Chat")
    assert [each.get("secure") for each in context.cookies()] == [True]
    context.close()


def test_the_log_shows_refusals(page: Page, endpoint: LocalEndpoint) -> None:
    expect(page.locator("#state")).to_have_text("live")
    answer = httpx.post(
        f"{endpoint.url}/openai/v1/chat/completions",
        headers={"api-key": endpoint.key},
        json={"model": "nobody", "messages": [{"role": "user", "content": "Hello"}]},
    )
    assert answer.status_code == 404
    row = page.locator("#log tbody tr").first
    expect(row).to_contain_text("404")
    expect(row.locator(".bad")).to_have_count(1)


def test_a_chat_can_be_tried_on_the_page(page: Page) -> None:
    page.select_option("#try select", "Chat-PTU")
    page.fill("#try textarea", "The capital of Italy?")
    page.click("#try button")
    expect(page.locator("#answer")).to_have_text("<b>Rome</b> & more")
    expect(page.locator("#about")).to_contain_text("routed to Chat-PTU")
    expect(page.locator("#log tbody tr").first).to_contain_text("Chat-PTU")


def test_request_content_is_shown_and_never_executed(page: Page, endpoint: LocalEndpoint) -> None:
    expect(page.locator("#state")).to_have_text("live")
    hostile = (
        "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    )
    with InferenceClient(endpoint.url, endpoint.key) as client:
        client.complete([UserMessage(hostile)], model="chat-ptu")
    row = page.locator("#log tbody tr").first
    row.locator("summary").first.click()
    expect(row.locator("pre").first).to_contain_text("<script>")
    assert page.title() == "azinfer"


def test_a_browser_without_the_key_is_asked_for_it(
    browser: Browser, endpoint: LocalEndpoint
) -> None:
    page = browser.new_page()
    page.goto(endpoint.url)
    expect(page.locator("body")).not_to_contain_text("Chat-Standard")
    page.fill("input", "wrong")
    page.click("button")
    expect(page.locator("body")).to_contain_text("The key is wrong.")
    page.fill("input", endpoint.key)
    page.click("button")
    expect(page.locator("#deployments")).to_contain_text("Chat-Standard")
    assert endpoint.key not in page.content()
    assert endpoint.key not in page.url
    page.close()


def test_the_cookie_of_the_page_is_refused_from_other_sites(endpoint: LocalEndpoint) -> None:
    with httpx.Client(base_url=endpoint.url) as http:
        assert http.get(endpoint.page_url()).status_code == 303
        body = {"model": "chat-ptu", "messages": [{"role": "user", "content": "Hello"}]}
        for site in ("cross-site", "same-site", None):
            headers = {"sec-fetch-site": site} if site else {}
            answer = http.post("/openai/v1/chat/completions", json=body, headers=headers)
            assert answer.status_code == 401
