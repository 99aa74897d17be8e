"""Every URL that a portal, a sample or a blog shows is understood, without a network."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azinfer.core import ConfigurationError, Endpoint
from azinfer.core.endpoints import is_loopback
from azinfer.core.surfaces import CHAT, DEPLOYMENTS, EMBEDDINGS, IMAGES, INFO, MODELS, V1

FOUNDRY = "https://contoso.services.ai.azure.com"
OPENAI = "https://contoso.openai.azure.com"

# what is pasted → surface, base, deployment, api-version
FORMS = [
    (FOUNDRY, "v1", f"{FOUNDRY}/openai/v1", None, None),
    (f"{FOUNDRY}/", "v1", f"{FOUNDRY}/openai/v1", None, None),
    (f"{FOUNDRY}/models", "models", f"{FOUNDRY}/models", None, None),
    (f"{FOUNDRY}/models/", "models", f"{FOUNDRY}/models", None, None),
    (f"{FOUNDRY}/models/chat/completions", "models", f"{FOUNDRY}/models", None, None),
    (
        f"{FOUNDRY}/models/chat/completions?api-version=2024-05-01-preview",
        "models",
        f"{FOUNDRY}/models",
        None,
        "2024-05-01-preview",
    ),
    (f"{FOUNDRY}/models/embeddings", "models", f"{FOUNDRY}/models", None, None),
    (f"{FOUNDRY}/models/images/embeddings", "models", f"{FOUNDRY}/models", None, None),
    (f"{FOUNDRY}/models/info", "models", f"{FOUNDRY}/models", None, None),
    (f"{FOUNDRY}/MODELS", "models", f"{FOUNDRY}/models", None, None),
    (f"{FOUNDRY}//models//", "models", f"{FOUNDRY}/models", None, None),
    (f"{FOUNDRY}/openai/v1", "v1", f"{FOUNDRY}/openai/v1", None, None),
    (f"{FOUNDRY}/openai/v1/", "v1", f"{FOUNDRY}/openai/v1", None, None),
    (f"{FOUNDRY}/openai/v1/chat/completions", "v1", f"{FOUNDRY}/openai/v1", None, None),
    (f"{FOUNDRY}/openai/v1/responses", "v1", f"{FOUNDRY}/openai/v1", None, None),
    (f"{FOUNDRY}/openai/v1?api-version=preview", "v1", f"{FOUNDRY}/openai/v1", None, "preview"),
    (
        f"{FOUNDRY}/openai/deployments/deepseek-r1",
        "deployments",
        f"{FOUNDRY}/openai/deployments",
        "deepseek-r1",
        None,
    ),
    (f"{FOUNDRY}/api/projects/demo", "v1", f"{FOUNDRY}/openai/v1", None, None),
    (f"{FOUNDRY}/api/projects/demo/openai/v1", "v1", f"{FOUNDRY}/openai/v1", None, None),
    (OPENAI, "v1", f"{OPENAI}/openai/v1", None, None),
    (f"{OPENAI}/openai", "deployments", f"{OPENAI}/openai/deployments", None, None),
    (f"{OPENAI}/openai/v1/", "v1", f"{OPENAI}/openai/v1", None, None),
    (
        f"{OPENAI}/?api-version=2024-10-21",
        "deployments",
        f"{OPENAI}/openai/deployments",
        None,
        "2024-10-21",
    ),
    (f"{OPENAI}/?api-version=v1", "v1", f"{OPENAI}/openai/v1", None, "v1"),
    (f"{OPENAI}/openai/deployments", "deployments", f"{OPENAI}/openai/deployments", None, None),
    (
        f"{OPENAI}/openai/deployments/gpt-4o",
        "deployments",
        f"{OPENAI}/openai/deployments",
        "gpt-4o",
        None,
    ),
    (
        f"{OPENAI}/openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01-preview",
        "deployments",
        f"{OPENAI}/openai/deployments",
        "gpt-4o",
        "2025-01-01-preview",
    ),
    (
        f"{OPENAI}//openai/deployments/my%20gpt/embeddings",
        "deployments",
        f"{OPENAI}/openai/deployments",
        "my gpt",
        None,
    ),
    (
        "https://contoso.cognitiveservices.azure.com/",
        "v1",
        "https://contoso.cognitiveservices.azure.com/openai/v1",
        None,
        None,
    ),
    (
        "https://westeurope.api.cognitive.microsoft.com/",
        "v1",
        "https://westeurope.api.cognitive.microsoft.com/openai/v1",
        None,
        None,
    ),
    (
        "https://contoso.openai.azure.us",
        "v1",
        "https://contoso.openai.azure.us/openai/v1",
        None,
        None,
    ),
    (
        "https://contoso.openai.azure.cn/",
        "v1",
        "https://contoso.openai.azure.cn/openai/v1",
        None,
        None,
    ),
    (
        "https://Mistral-large-abcde.swedencentral.models.ai.azure.com",
        "serverless",
        "https://mistral-large-abcde.swedencentral.models.ai.azure.com",
        None,
        None,
    ),
    (
        "https://m.eastus2.models.ai.azure.com/v1/chat/completions",
        "serverless",
        "https://m.eastus2.models.ai.azure.com/v1",
        None,
        None,
    ),
    (
        "https://phi.westus.inference.ml.azure.com/score",
        "managed",
        "https://phi.westus.inference.ml.azure.com",
        None,
        None,
    ),
    ("http://127.0.0.1:8080", "v1", "http://127.0.0.1:8080/openai/v1", None, None),
    ("http://localhost:8080/models", "models", "http://localhost:8080/models", None, None),
    ("localhost:8080", "v1", "http://localhost:8080/openai/v1", None, None),
    ("http://[::1]:8080", "v1", "http://[::1]:8080/openai/v1", None, None),
    ("contoso.openai.azure.com", "v1", f"{OPENAI}/openai/v1", None, None),
    (f' "{FOUNDRY}/models" ', "models", f"{FOUNDRY}/models", None, None),
    (
        "https://gateway.contoso.com/ai/openai/deployments/gpt-4o",
        "deployments",
        "https://gateway.contoso.com/ai/openai/deployments",
        "gpt-4o",
        None,
    ),
    ("https://api.example.com/v1", "v1", "https://api.example.com/v1", None, None),
]


@pytest.mark.parametrize(("url", "surface", "base", "name", "version"), FORMS)
def test_a_url_is_understood(
    url: str, surface: str, base: str, name: str | None, version: str | None
) -> None:
    endpoint = Endpoint.parse(url)
    result = (endpoint.surface.name, endpoint.url, endpoint.deployment, endpoint.api_version)
    assert result == (surface, base, name, version)


def test_more_than_thirty_url_forms_are_tested() -> None:
    assert len(FORMS) > 30


@pytest.mark.parametrize("url", [form[0] for form in FORMS])
def test_derived_urls_are_parsed_the_same(url: str) -> None:
    endpoint = Endpoint.parse(url)
    again = Endpoint.parse(str(endpoint))
    assert (again.url, again.surface) == (endpoint.url, endpoint.surface)


@given(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from([FOUNDRY, OPENAI, "http://localhost:1234", "https://gw.example.com/x"]),
        st.sampled_from(
            ["/models", "/openai", "/openai/v1", "/openai/deployments/a%2Fb", "/MODELS/"]
        ),
        st.sampled_from(["", "/", "//", "/chat/completions", "/embeddings/"]),
        st.sampled_from(["", "?api-version=2024-10-21", "?x=1&x=2&api-version=preview", "?a=%20"]),
    )
)
def test_parsing_is_idempotent(url: str) -> None:
    endpoint = Endpoint.parse(url)
    again = Endpoint.parse(endpoint.operation_url(CHAT, endpoint.deployment or "d"))
    kept = {**{name: getattr(again, name) for name in Endpoint.__slots__}}
    if endpoint.surface == DEPLOYMENTS and endpoint.deployment is None:
        kept["deployment"] = None
    if endpoint.api_version is None:
        kept["api_version"] = None
    assert Endpoint(**kept) == endpoint


@given(st.text(min_size=1, max_size=80))
def test_no_name_escapes_its_path_segment(name: str) -> None:
    endpoint = Endpoint.parse(f"{OPENAI}/openai")
    try:
        url = endpoint.operation_url(CHAT, name)
    except ConfigurationError:
        assert name.strip() in ("", ".", "..") or any("\ud800" <= c <= "\udfff" for c in name)
        return
    parts = urlsplit(url)
    segments = parts.path.split("/")
    assert segments[:3] == ["", "openai", "deployments"]
    assert segments[4:] == ["chat", "completions"]
    assert unquote(segments[3]) == name
    assert (parts.query, parts.fragment) == ("api-version=2024-10-21", "")
    assert url.isascii()
    assert not set("\r\n \t") & set(url)


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("../../../admin", "..%2F..%2F..%2Fadmin"),
        ("gpt?api-version=evil#frag", "gpt%3Fapi-version%3Devil%23frag"),
        ("a%2fb", "a%252fb"),
        ("a\r\nx: y", "a%0D%0Ax%3A%20y"),
        ("größe", "gr%C3%B6%C3%9Fe"),
    ],
)
def test_a_hostile_name_is_one_encoded_segment(name: str, segment: str) -> None:
    url = Endpoint.parse(f"{OPENAI}/openai").operation_url(EMBEDDINGS, name)
    assert url == f"{OPENAI}/openai/deployments/{segment}/embeddings?api-version=2024-10-21"


@pytest.mark.parametrize("name", ["", " ", ".", "..", "\ud800"])
def test_a_name_that_does_not_fit_in_a_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="model="):
        Endpoint.parse(f"{OPENAI}/openai").operation_url(CHAT, name)


def test_the_query_is_kept_on_every_request() -> None:
    endpoint = Endpoint.parse(f"{FOUNDRY}/models?sv=1&api-version=2025-04-01&sv=a%20b")
    assert endpoint.query == (("sv", "1"), ("sv", "a b"))
    assert "a b" not in repr(endpoint)
    url = endpoint.operation_url(CHAT, "x")
    assert url == f"{FOUNDRY}/models/chat/completions?sv=1&sv=a+b&api-version=2025-04-01"


def test_a_callers_api_version_wins_over_the_urls() -> None:
    url = f"{FOUNDRY}/models?api-version=2024-05-01-preview"
    assert Endpoint.parse(url, api_version="2025-04-01").api_version == "2025-04-01"


@pytest.mark.parametrize(
    ("url", "surface", "base", "name"),
    [
        (FOUNDRY, "models", f"{FOUNDRY}/models", None),
        (f"{FOUNDRY}/models", "v1", f"{FOUNDRY}/openai/v1", None),
        (f"{FOUNDRY}/models", "Deployments", f"{FOUNDRY}/openai/deployments", None),
        ("https://gw.example.com/llm", "models", "https://gw.example.com/llm", None),
        ("https://gw.example.com/llm", "v1", "https://gw.example.com/llm", None),
        ("https://gw.example.com/llm", "serverless", "https://gw.example.com/llm", None),
        (
            "https://gw.example.com/llm",
            "deployments",
            "https://gw.example.com/llm/openai/deployments",
            None,
        ),
        (
            "https://gw.example.com/custom/deployments/gpt%204/chat/completions",
            "deployments",
            "https://gw.example.com/custom/deployments",
            "gpt 4",
        ),
        (
            "https://m.eastus2.models.ai.azure.com",
            "managed",
            "https://m.eastus2.models.ai.azure.com",
            None,
        ),
    ],
)
def test_the_caller_may_name_the_surface(
    url: str, surface: str, base: str, name: str | None
) -> None:
    endpoint = Endpoint.parse(url, surface)
    assert (endpoint.url, endpoint.deployment) == (base, name)
    assert endpoint.surface.name == surface.lower()


def test_a_surface_may_be_given_as_a_value() -> None:
    assert Endpoint.parse(FOUNDRY, MODELS).surface is MODELS


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "not a valid http(s) URL"),
        ("ftp://contoso.openai.azure.com", "not a valid http(s) URL"),
        ("https://", "not a valid http(s) URL"),
        ("https://<resource>.openai.azure.com", "not a valid http(s) URL"),
        ("https://contoso.openai.azure.com:99999", "Port out of range"),
        ("https://[::1", "Invalid IPv6"),
        ("https://me:pass@contoso.openai.azure.com", "credential="),
        ("https://example.com", "Pass its surface"),
        ("https://example.com/some/path", "https://example.com/some/path"),
        ("https://ai.azure.com/build/overview", "Pass its surface"),
        (f"{FOUNDRY}/models?api-version=1", "api-version '1'"),
        (f"{FOUNDRY}/models?api-version=2024-07-18x", "belongs to its deployment"),
        (
            f"{FOUNDRY}/models?api-version=2024-08-06",
            "The version of a model belongs to its deployment",
        ),
    ],
)
def test_a_wrong_url_is_an_error_with_its_parsed_parts(url: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.parse(url)
    assert expected in str(caught.value)


def test_a_wrong_url_is_an_error_with_an_example() -> None:
    with pytest.raises(ConfigurationError, match=r"https://<resource>\.services\.ai\.azure\.com"):
        Endpoint.parse("https://example.com")


def test_an_unknown_surface_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="models, v1, deployments, serverless, managed"):
        Endpoint.parse(FOUNDRY, "modles")


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@contoso.openai.azure.com",
        "https://me:s3cret@contoso.openai.azure.com:port",
        "https://gw.example:port/openai/v1?code=s3cret",
        "https://gw.exa mple/openai/v1?code=s3cret",
    ],
)
def test_the_password_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.parse(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("operation", [IMAGES, INFO])
def test_what_v1_lacks_goes_to_the_models_surface_of_the_resource(operation: str) -> None:
    assert Endpoint.parse(FOUNDRY).endpoint_for(operation).url == f"{FOUNDRY}/models"


def test_an_operation_stays_where_it_exists() -> None:
    endpoint = Endpoint.parse(f"{FOUNDRY}/models")
    assert endpoint.endpoint_for(IMAGES) is endpoint
    assert endpoint.on(MODELS) is endpoint


@pytest.mark.parametrize(
    ("url", "operation"),
    [("https://a.example.com/v1", IMAGES), ("https://a.example.com/v1", INFO), (FOUNDRY, "x")],
)
def test_an_unavailable_operation_is_an_error_that_names_its_surface(
    url: str, operation: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"models.*serverless"):
        Endpoint.parse(url).endpoint_for(operation)


def test_info_on_the_models_surface_takes_the_version_that_has_it() -> None:
    endpoint = Endpoint.parse(f"{FOUNDRY}/models")
    expected = f"{FOUNDRY}/models/info?api-version=2025-04-01&model=a%2Fb"
    assert endpoint.operation_url(INFO, "a/b") == expected
    named = Endpoint.parse(f"{FOUNDRY}/models", api_version="2025-05-01")
    assert named.operation_url(INFO, None) == f"{FOUNDRY}/models/info?api-version=2025-05-01"


def test_a_project_is_kept_beside_the_resource() -> None:
    endpoint = Endpoint.parse(f"{FOUNDRY}/api/projects/demo")
    assert endpoint.project == f"{FOUNDRY}/api/projects/demo"
    assert endpoint.on(V1) is endpoint


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://[::1", False),
        ("http://127.0.0.1:1", True),
        ("http://[::1]", True),
        ("http://localhost", True),
        ("http://a.localhost", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
        ("nothing", False),
    ],
)
def test_loopback_is_known(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


@pytest.mark.parametrize(
    "url",
    [
        "https://models.github.ai",
        "https://models.github.ai/inference/chat/completions",
        "https://models.github.ai/orgs/contoso/inference",
        "https://models.inference.ai.azure.com",
    ],
)
def test_github_models_have_ended(url: str) -> None:
    with pytest.raises(ConfigurationError, match="GitHub Models ended on 30 July 2026; deploy"):
        Endpoint.parse(url)
    with pytest.raises(ConfigurationError, match="GitHub Models ended"):
        Endpoint.parse("https://gateway.example.com/inference", "GitHub")


def test_a_gateways_path_works_as_it_is() -> None:
    url = "https://apim.contoso.com/openai/chat/completions"
    endpoint = Endpoint.parse(url)
    assert endpoint.surface.name == "serverless"
    assert endpoint.operation_url("chat/completions", "m").partition("?")[0] == url


@pytest.mark.parametrize(
    "url",
    [
        "https://apim.contoso.com/llm/chat/completions",
        "https://contoso.services.ai.azure.com/other/v1",
        "https://contoso.openai.azure.com/v1",
    ],
)
def test_a_path_that_nobody_documents_is_an_error_that_names_a_way(url: str) -> None:
    with pytest.raises(ConfigurationError, match="'serverless' takes the path of a gateway"):
        Endpoint.parse(url)
    endpoint = Endpoint.parse(url, "serverless")
    expected = url.removesuffix("/chat/completions") + "/chat/completions"
    assert endpoint.operation_url("chat/completions", "m").partition("?")[0] == expected


@pytest.mark.parametrize(
    "key", ["Jsm8q5K22fmygXuw_o3dxjOnuvN0c00w", "a1B2" * 21, "eyJhbGciOi.eyJhdWQi.x_y"]
)
def test_a_key_in_place_of_the_endpoint_is_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="looks like a key, and is not shown") as caught:
        Endpoint.parse(key)
    assert key.casefold() not in str(caught.value).casefold()
