"""Deployments are created, changed and deleted at run time, as on Azure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from azure.ai.projects import AIProjectClient
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from azure.mgmt.cognitiveservices.models import (
    Deployment,
    DeploymentModel,
    DeploymentProperties,
    PatchResourceTagsAndSku,
    Sku,
)

from azinfer.core import (
    ConfigurationError,
    ContentFilterError,
    InferenceClient,
    RateLimit,
    RateLimitError,
    UserMessage,
)
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint, SyntheticEngine
from pictures import DATA_URL

ACCOUNT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
MODEL = {"format": "Mistral AI", "name": "mistral-large", "version": "2411"}
HARSH = ContentFilter("Harsh", words={"violence": {"stab": "high"}})


def body(capacity: int = 5, sku: str = "GlobalStandard", **properties: Any) -> dict[str, Any]:
    """The body of a PUT."""
    return {
        "sku": {"name": sku, "capacity": capacity},
        "properties": {"model": MODEL, **properties},
    }


@pytest.fixture
def clock() -> Callable[[], float]:
    """A clock that only moves when a test turns it."""
    return lambda: 1000.0


@pytest.fixture
def own(clock: Callable[[], float]) -> Iterator[LocalEndpoint]:
    """An endpoint whose deployments a test may change."""
    deployments = [
        LocalDeployment(
            "Large",
            "mistral-large",
            SyntheticEngine("Bonjour."),
            model_version="2411",
            model_format="Mistral AI",
            content_filter=HARSH,
        ),
        LocalDeployment("embed", "text-embedding"),
    ]
    with LocalEndpoint(deployments, key="k", clock=clock) as endpoint:
        yield endpoint


@pytest.fixture
def arm(own: LocalEndpoint) -> Iterator[httpx.Client]:
    """A plain HTTP client of an account's deployments."""
    base = f"{own.url}{ACCOUNT}/deployments"
    headers, params = {"api-key": "k"}, {"api-version": "2025-09-01"}
    with httpx.Client(base_url=base, headers=headers, params=params) as client:
        yield client


def ask(endpoint: LocalEndpoint, model: str, text: str = "hi", wish: bytes = b"") -> httpx.Response:
    return httpx.post(
        f"{endpoint.url}/models/chat/completions",
        headers={b"api-key": endpoint.key.encode(), b"x-ms-spillover-deployment": wish},
        json={"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 9},
    )


def test_a_deployment_is_served_as_soon_as_it_is_put(own: LocalEndpoint, arm: httpx.Client) -> None:
    assert ask(own, "second").status_code == 404
    result = arm.put("/Second", json=body(tags={}))
    assert result.status_code == 201
    content = result.json()
    assert result.headers["etag"] == content.pop("etag")
    times = content.pop("systemData")
    assert times["createdAt"] == times["lastModifiedAt"]
    assert content == {
        "id": f"{ACCOUNT}/deployments/Second",
        "type": "Microsoft.CognitiveServices/accounts/deployments",
        "name": "Second",
        "sku": {"name": "GlobalStandard", "capacity": 5},
        "tags": {},
        "properties": {
            "model": MODEL,
            "versionUpgradeOption": "OnceNewDefaultVersionAvailable",
            "raiPolicyName": "Microsoft.DefaultV2",
            "currentCapacity": 5,
            "capabilities": {"chatCompletion": "true"},
            "provisioningState": "Succeeded",
            "rateLimits": [
                {"key": "request", "renewalPeriod": 10, "count": 5},
                {"key": "token", "renewalPeriod": 60, "count": 5000},
            ],
        },
    }
    answer = ask(own, "SECOND")
    assert answer.headers["x-ms-deployment-name"] == "Second"
    assert answer.json()["choices"][0]["message"]["content"] == "Bonjour."
    again = arm.put("/second", json=body(capacity=7))
    assert (again.status_code, again.json()["name"]) == (200, "Second")
    assert again.headers["etag"] != result.headers["etag"]
    assert arm.get("/SECOND").json() == again.json()


def test_a_new_model_is_answered_by_the_synthetic_engine(
    own: LocalEndpoint, arm: httpx.Client
) -> None:
    model = {"format": "OpenAI", "name": "gpt-4.1", "version": "2025-04-14"}
    arm.put("/gpt", json={"sku": {"name": "Standard"}, "properties": {"model": model}})
    answer = ask(own, "gpt").json()
    assert answer["choices"][0]["message"]["content"] == "This is a synthetic answer to: hi"
    assert answer["model"] == "gpt-4.1"
    assert arm.get("/gpt").json()["properties"]["rateLimits"] == []


def test_an_engine_outlives_its_deployments(own: LocalEndpoint, arm: httpx.Client) -> None:
    assert arm.delete("/large").status_code == 200
    assert ask(own, "large").status_code == 404
    assert arm.delete("/large").status_code == 204
    arm.put("/back", json=body())
    assert ask(own, "back").json()["choices"][0]["message"]["content"] == "Bonjour."


def test_deployments_of_one_model_show_their_own_configuration(
    own: LocalEndpoint, arm: httpx.Client
) -> None:
    other = {**MODEL, "version": "2407"}
    arm.put("/narrow", json=body(1))
    arm.put("/wide", json=body(100, raiPolicyName="harsh"))
    arm.put("/older", json=body(100, model=other))
    statuses = {name: [ask(own, name).status_code for _ in range(3)] for name in ("narrow", "wide")}
    assert statuses == {"narrow": [200, 429, 429], "wide": [200, 200, 200]}
    with InferenceClient(own.url, own.key, "wide", max_retries=0) as client:
        with pytest.raises(ContentFilterError):
            client.complete([UserMessage("I stab you")])
        assert client.complete([UserMessage("I stab you")], model="older").text == "Bonjour."
        with pytest.raises(RateLimitError):
            client.complete([UserMessage("hi")], model="narrow")
        listed = client.deployments(own.url + ACCOUNT)
    assert listed["wide"].content_filter == "Harsh"
    assert listed["older"].model_version == "2407"
    assert listed["narrow"].rate_limits == (
        RateLimit("request", 1, 10),
        RateLimit("token", 1000, 60),
    )


def test_a_put_replaces_the_whole_configuration_and_keeps_the_engine(
    own: LocalEndpoint, arm: httpx.Client
) -> None:
    assert ask(own, "large", "I stab you").status_code == 400
    arm.put("/large", json=body(sku="ProvisionedManaged", capacity=3))
    answer = ask(own, "large", "I stab you")
    assert answer.json()["choices"][0]["message"]["content"] == "Bonjour."
    assert answer.headers["azure-openai-deployment-utilization"] == "33%"
    assert [each.name for each in own.deployments] == ["Large", "embed"]
    arm.put("/large", json=body(model={**MODEL, "name": "another"}))
    assert "synthetic" in ask(own, "large").json()["choices"][0]["message"]["content"]


def test_usage_counts_after_a_change_of_capacity(own: LocalEndpoint, arm: httpx.Client) -> None:
    arm.put("/few", json=body(2))
    assert [ask(own, "few").status_code for _ in range(3)] == [200, 200, 429]
    patched = arm.patch("/few", json={"sku": {"name": "GlobalStandard", "capacity": 3}})
    assert patched.status_code == 200
    assert patched.json()["properties"]["rateLimits"][0]["count"] == 3
    assert [ask(own, "few").status_code for _ in range(2)] == [200, 429]


def test_patch_changes_only_capacity_and_tags(own: LocalEndpoint, arm: httpx.Client) -> None:
    arm.put("/few", json={**body(2, raiPolicyName="Harsh"), "tags": {"team": "a"}})
    patched = arm.patch("/few", json={"tags": {"team": "b"}}).json()
    assert patched["tags"] == {"team": "b"}
    assert patched["sku"]["capacity"] == 2
    patched = arm.patch("/few", json={"sku": {"capacity": 4}}).json()
    assert (patched["tags"], patched["sku"]) == (
        {"team": "b"},
        {"name": "GlobalStandard", "capacity": 4},
    )
    assert patched["properties"]["raiPolicyName"] == "Harsh"
    assert arm.patch("/nobody", json={}).status_code == 404


@pytest.mark.parametrize(
    ("path", "content", "code", "message"),
    [
        ("/new", b"{", "InvalidRequestContent", "The body is not valid JSON"),
        ("/new", b"[]", "InvalidRequestContent", "JSON object"),
        ("/new", b"{}", "InvalidResourceProperties", "properties.model.name is required"),
        (
            "/new",
            {"properties": {"model": MODEL}},
            "InvalidResourceProperties",
            "sku.name is required",
        ),
        ("/new", body(sku="GlobalStandart"), "InvalidResourceProperties", "'GlobalStandard'?"),
        ("/new", body(capacity=0), "InvalidResourceProperties", "sku.capacity must be an integer"),
        ("/new", {**body(), "sku": 5}, "InvalidResourceProperties", "sku must be an object, not 5"),
        (
            "/new",
            {**body(), "tags": {"a": 1}},
            "InvalidResourceProperties",
            "tags.a must be a text",
        ),
        (
            "/new",
            body(model={"name": 5}),
            "InvalidResourceProperties",
            "properties.model.name must",
        ),
        ("/-new", body(), "InvalidResourceProperties", "is not a valid deployment name"),
        ("/new", body(versionUpgradeOption="x"), "InvalidResourceProperties", "NoAutoUpgrade"),
        ("/new", body(spilloverDeploymentName="x"), "InvalidResourceProperties", "not another"),
        ("/new", body(spilloverDeploymentName="embed"), "InvalidResourceProperties", "other model"),
    ],
)
def test_an_invalid_deployment_is_refused_with_its_field(
    own: LocalEndpoint, arm: httpx.Client, path: str, content: Any, code: str, message: str
) -> None:
    sent = {"content": content} if isinstance(content, bytes) else {"json": content}
    answer = arm.put(path, **sent)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert message in error["message"]
    assert len(own.deployments) == 2


def test_patch_refuses_other_fields(own: LocalEndpoint, arm: httpx.Client) -> None:
    contents: list[Any] = [{"properties": {}}, {"sku": {"capacity": "5"}}]
    for content in contents:
        answer = arm.patch("/large", json=content)
        assert answer.json()["error"]["code"] == "InvalidResourceProperties"


def test_unknown_resources_are_refused_in_the_words_of_resource_manager(arm: httpx.Client) -> None:
    for answer in (arm.get("/none"), arm.get("/none/skus"), arm.patch("/none", json={})):
        assert answer.status_code == 404
        assert answer.json() == {
            "error": {
                "code": "ResourceNotFound",
                "message": "The Resource 'Microsoft.CognitiveServices/accounts/a/deployments/none'"
                " under resource group 'g' was not found.",
            }
        }
    assert arm.post("/none").status_code == 405


@pytest.mark.parametrize(
    ("version", "code"),
    [(None, "MissingApiVersionParameter"), ("v1", "InvalidApiVersionParameter")],
)
def test_the_version_is_checked(own: LocalEndpoint, version: str | None, code: str) -> None:
    params = {"api-version": version} if version else {}
    url = f"{own.url}{ACCOUNT}/deployments"
    answer = httpx.get(url, params=params, headers={"api-key": "k"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_the_path_is_the_same_in_any_case(own: LocalEndpoint) -> None:
    path = ACCOUNT.replace("resourceGroups", "resourcegroups").replace("accounts", "ACCOUNTS")
    url = f"{own.url}{path}/deployments/large?api-version=2025-09-01"
    answer = httpx.get(url, headers={"api-key": "k"}).json()
    assert answer["id"] == f"{ACCOUNT}/deployments/Large"


def test_the_project_list_is_filtered(own: LocalEndpoint) -> None:
    url = f"{own.url}/api/projects/p/deployments"

    def names(**params: str) -> list[str]:
        answer = httpx.get(url, params={"api-version": "v1", **params}, headers={"api-key": "k"})
        return [each["name"] for each in answer.json()["value"]]

    assert names() == ["Large", "embed"]
    assert names(modelPublisher="Mistral AI") == ["Large"]
    assert names(modelName="text-embedding") == ["embed"]
    assert names(modelName="text-embed") == []
    assert names(deploymentType="ModelDeployment", modelName="mistral-large") == ["Large"]
    assert names(deploymentType="Other") == []
    headers = {"api-key": "k"}
    assert httpx.get(f"{url}/EMBED", headers=headers).json()["name"] == "embed"
    assert httpx.get(f"{url}/none", headers=headers).json()["error"]["code"] == "NotFound"


@pytest.mark.parametrize("path", [f"{ACCOUNT}/deployments", "/api/projects/p/deployments"])
def test_pages_are_followed_to_their_end_while_the_list_changes(path: str) -> None:
    deployments = [LocalDeployment(f"d{number}", "m") for number in range(5)]
    with LocalEndpoint(deployments, page_size=2) as endpoint:
        headers = {"api-key": endpoint.key}
        version = "2025-09-01" if "subscriptions" in path else "v1"
        url: str | None = f"{endpoint.url}{path}?api-version={version}"
        values: list[list[str]] = []
        while url:
            page = httpx.get(url, headers=headers).json()
            values.append([each["name"] for each in page["value"]])
            url = page.get("nextLink")
            endpoint.delete("d1")
        assert values == [["d0", "d1"], ["d2", "d3"], ["d4"]]
        one = httpx.get(
            endpoint.url + path,
            params={"api-version": version, "$top": "3", "modelName": "m"},
            headers=headers,
        ).json()
        assert len(one["value"]) == 2
        assert "modelName=m" in one["nextLink"]
        for name, value in (("$top", "0"), ("top", "x"), ("$skiptoken", "-1")):
            params = {"api-version": version, name: value}
            answer = httpx.get(endpoint.url + path, params=params, headers=headers)
            assert answer.json()["error"]["code"] == "InvalidParameter"
        with InferenceClient(endpoint.url, endpoint.key) as client:
            listed = client.deployments(endpoint.url + path.removesuffix("/deployments"))
        assert list(listed) == ["d0", "d2", "d3", "d4"]


def test_the_classic_list_shows_one_deployment_too(own: LocalEndpoint) -> None:
    url = f"{own.url}/openai/deployments"
    headers = {"api-key": "k"}
    assert httpx.get(f"{url}/LARGE", headers=headers).json()["id"] == "Large"
    answer = httpx.get(f"{url}/none", headers=headers)
    assert answer.json()["error"]["code"] == "DeploymentNotFound"


def test_deployments_are_changed_from_python_too(own: LocalEndpoint) -> None:
    own.deploy(LocalDeployment("third", engine=SyntheticEngine("Three.")))
    assert ask(own, "third").json()["choices"][0]["message"]["content"] == "Three."
    own.deploy(LocalDeployment("THIRD", engine=SyntheticEngine("Four.")))
    assert [each.name for each in own.deployments] == ["Large", "embed", "THIRD"]
    assert own.delete("Third")
    assert not own.delete("Third")
    assert ask(own, "third").status_code == 404
    with pytest.raises(ConfigurationError, match="is not another deployment"):
        own.deploy(LocalDeployment("fourth", spillover="fourth"))


def test_the_engine_of_a_deleted_deployment_is_closed_at_the_end() -> None:
    closed = []

    class Closing(SyntheticEngine):
        async def aclose(self) -> None:
            closed.append(self)

    first, second = Closing(), Closing()
    with LocalEndpoint([LocalDeployment("one", engine=first)]) as endpoint:
        endpoint.deploy(LocalDeployment("two", engine=second))
        endpoint.deploy(LocalDeployment("one", engine=second))
        endpoint.delete("two")
        assert closed == []
    assert closed == [first, second]


def test_a_full_deployment_spills_over(own: LocalEndpoint) -> None:
    limits = (RateLimit("request", 1, 10),)
    own.deploy(LocalDeployment("std", "m", SyntheticEngine("b"), rate_limits=limits))
    own.deploy(
        LocalDeployment("ptu", "m", SyntheticEngine("a"), rate_limits=limits, spillover="STD")
    )
    answers = [ask(own, "ptu") for _ in range(3)]
    values = [
        (each.status_code, each.headers["x-ms-deployment-name"], _spill_headers(each))
        for each in answers
    ]
    assert values == [
        (200, "ptu", ("false", None)),
        (200, "std", ("true", "ptu")),
        (429, "std", (None, None)),
    ]
    texts = [each.json()["choices"][0]["message"]["content"] for each in answers[:2]]
    assert texts == ["a", "b"]
    logged = own.requests[1]
    why = "spillover from ptu, which was full"
    assert (logged.deployment, logged.why) == ("std", why)
    own.delete("std")
    last = ask(own, "ptu")
    assert last.headers["x-ms-deployment-name"] == "ptu"
    assert "'STD', which is not another deployment here" in last.headers["x-ms-spillover-error"]


def test_a_request_can_name_its_spillover_deployment(own: LocalEndpoint) -> None:
    none_left = (RateLimit("request", 1, 10),)
    own.deploy(LocalDeployment("std", "m", SyntheticEngine("b")))
    own.deploy(LocalDeployment("ptu", "m", SyntheticEngine("a"), rate_limits=none_left))
    with InferenceClient(own.url, own.key, "ptu", max_retries=0) as client:
        assert client.complete([UserMessage("hi")]).text == "a"
        wish = {"x-ms-spillover-deployment": "std"}
        assert client.complete([UserMessage("hi")], headers=wish).text == "b"
        with pytest.raises(RateLimitError):
            client.complete([UserMessage("hi")])
        with pytest.raises(RateLimitError):
            client.complete([UserMessage("hi")], headers={"x-ms-spillover-deployment": "embed"})


def test_names_that_no_header_can_carry_break_no_answer(own: LocalEndpoint) -> None:
    """Models may be called anything, and headers may say anything; answers escape it."""
    none_left = (RateLimit("request", 1, 10),)
    own.deploy(LocalDeployment("ptu", "模型\r\nx-evil: 1", rate_limits=none_left))
    own.deploy(LocalDeployment("std", "é"))
    answers = [ask(own, "ptu", wish=b"\xe9\x85")]
    answers += [ask(own, "ptu", wish=b"std")]
    answers += [ask(own, "ptu", wish=b"\xe9\x85")]
    assert [each.status_code for each in answers] == [200, 429, 429]
    for each in answers:
        assert each.headers["x-ratelimit-key"] == "\\u6a21\\u578b\\r\\nx-evil: 1"
        assert "x-evil" not in each.headers
    other, missing = (each.headers["x-ms-spillover-error"] for each in answers[1:])
    assert "another model: '\\xe9'" in other
    assert "spills over to '\\xe9\\\\x85', which is not another" in missing


def _spill_headers(answer: httpx.Response) -> tuple[str | None, str | None]:
    headers = answer.headers
    return headers.get("x-ms-is-spilled-over"), headers.get("x-ms-spillover-from-deployment")


def test_a_stream_and_embeddings_spill_over_too(own: LocalEndpoint) -> None:
    own.deploy(LocalDeployment("std", "m", SyntheticEngine("b")))
    none_left = (RateLimit("token", 1, 60),)
    own.deploy(LocalDeployment("ptu", "m", rate_limits=none_left, spillover="std"))
    with InferenceClient(own.url, own.key, "ptu") as client:
        with client.stream([UserMessage("hi")]) as chunks:
            assert "".join(chunk.text for chunk in chunks) == "b"
        routing = client.complete([UserMessage("hi")]).routing
        assert routing is not None
        assert routing.deployment == "std"
    for path, inputs in (
        ("embeddings", ["some text"]),
        ("images/embeddings", [{"image": DATA_URL}] * 2),
    ):
        answer = httpx.post(
            f"{own.url}/models/{path}",
            headers={"api-key": "k"},
            json={"model": "ptu", "input": inputs},
        )
        assert (answer.status_code, _spill_headers(answer)) == (200, ("true", "ptu"))


def test_an_unknown_spillover_deployment_prevents_the_start() -> None:
    class OnlyVectors:
        embed = SyntheticEngine().embed
        aclose = SyntheticEngine().aclose

    for other, message in (
        (LocalDeployment("std", "n"), "another model: 'n', not 'm'"),
        (LocalDeployment("std", "m", OnlyVectors()), "which does not support chat_completion"),
        (LocalDeployment("stt", "m"), "'std', which is not another deployment"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            LocalEndpoint([LocalDeployment("ptu", "m", spillover="std"), other])


@pytest.fixture
def azure(secure: LocalEndpoint) -> Iterator[CognitiveServicesManagementClient]:
    """Azure's own management client of the endpoint."""
    with CognitiveServicesManagementClient(
        secure.credential(),
        "subscription",
        base_url=secure.url,
        credential_scopes=["https://management.azure.com/.default"],
        connection_verify=secure.ca_file,
    ) as client:
        yield client


def test_azures_management_client_makes_changes_and_deletes(
    secure: LocalEndpoint, azure: CognitiveServicesManagementClient
) -> None:
    where = ("group", "account")
    model = DeploymentModel(format="OpenAI", name="gpt-4.1", version="2025-04-14")
    wanted = Deployment(
        sku=Sku(name="DataZoneStandard", capacity=4), properties=DeploymentProperties(model=model)
    )
    result = azure.deployments.begin_create_or_update(*where, "made", wanted).result()
    assert result.properties is not None
    assert result.properties.provisioning_state == "Succeeded"
    assert result.properties.rate_limits is not None
    assert [each.count for each in result.properties.rate_limits] == [4, 4000]
    assert result.system_data is not None
    assert result.system_data.created_at is not None
    assert post_over_tls(secure, "made") == 200
    change = PatchResourceTagsAndSku(sku=Sku(name="DataZoneStandard", capacity=9))
    changed = azure.deployments.begin_update(*where, "made", change).result()
    assert changed.sku is not None
    assert changed.sku.capacity == 9
    assert azure.deployments.get(*where, "MADE").name == "made"
    assert [each.name for each in azure.deployments.list(*where)] == ["Chat", "made"]
    skus = [each.sku and each.sku.name for each in azure.deployments.list_skus(*where, "made")]
    assert "GlobalBatch" in skus
    azure.deployments.begin_delete(*where, "made").result()
    with pytest.raises(ResourceNotFoundError) as caught:
        azure.deployments.get(*where, "made")
    assert caught.value.error is not None
    assert caught.value.error.code == "ResourceNotFound"


def test_azures_clients_follow_pages() -> None:
    deployments = [LocalDeployment(f"d{number}", "m") for number in range(5)]
    with LocalEndpoint(deployments, page_size=2, https=True) as endpoint:
        with CognitiveServicesManagementClient(
            endpoint.credential(),
            "subscription",
            base_url=endpoint.url,
            credential_scopes=["https://management.azure.com/.default"],
            connection_verify=endpoint.ca_file,
        ) as client:
            values = [each.name for each in client.deployments.list("g", "a")]
        assert values == ["d0", "d1", "d2", "d3", "d4"]
        with AIProjectClient(
            f"{endpoint.url}/api/projects/p",
            endpoint.credential(),
            connection_verify=endpoint.ca_file,
        ) as projects:
            values = [each.name for each in projects.deployments.list(model_name="m")]
            assert values == ["d0", "d1", "d2", "d3", "d4"]
            assert projects.deployments.get("D3").name == "d3"
        assert len(endpoint.requests) == 3 + 3 + 1


def test_azures_management_client_renews_keys(
    secure: LocalEndpoint, azure: CognitiveServicesManagementClient
) -> None:
    before = azure.accounts.list_keys("g", "a")
    assert (before.key1, before.key2) == (secure.key, secure.key2)
    after = azure.accounts.regenerate_key("g", "a", "Key2")
    assert after.key1 == before.key1
    assert after.key2 == secure.key2 != before.key2


def test_azures_management_client_reports_a_refusal(
    azure: CognitiveServicesManagementClient,
) -> None:
    wanted = Deployment(sku=Sku(name="Huge"), properties=DeploymentProperties())
    with pytest.raises(HttpResponseError, match=r"properties\.model\.name is required"):
        azure.deployments.begin_create_or_update("g", "a", "made", wanted)


def post_over_tls(endpoint: LocalEndpoint, model: str) -> int:
    import ssl

    trust_context = ssl.create_default_context(cafile=endpoint.ca_file)
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    return httpx.post(
        f"{endpoint.url}/models/chat/completions",
        headers={"api-key": endpoint.key},
        json=body,
        verify=trust_context,
    ).status_code
