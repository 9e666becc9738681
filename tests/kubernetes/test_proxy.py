"""Which proxy a request takes: the kubeconfig's first, then the environment as Go reads it."""

import pytest

from captep_core.errors import GatewayError
from captep_kubernetes._proxy import Proxy, proxy_for

SERVER = "https://api.example.com:6443"
FROM_ENVIRONMENT = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("server", "proxy_url", "environment", "url"),
    [
        (SERVER, "", {}, None),
        (SERVER, "", FROM_ENVIRONMENT, "http://proxy:3128"),
        (SERVER, "", {"https_proxy": "proxy:3128"}, "http://proxy:3128"),
        (SERVER, "", {"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}, "http://a:1"),
        (SERVER, "", {"HTTP_PROXY": "http://a:1", "ALL_PROXY": "http://b:1"}, None),
        ("http://api.example.com", "", {"HTTP_PROXY": "https://a"}, "https://a:443"),
        (SERVER, "http://own:1", {**FROM_ENVIRONMENT, "NO_PROXY": "*"}, "http://own:1"),
        (SERVER, "", {**FROM_ENVIRONMENT, "NO_PROXY": "*"}, None),
        (SERVER, "", {**FROM_ENVIRONMENT, "no_proxy": "other, API.example.com"}, None),
        (SERVER, "", {**FROM_ENVIRONMENT, "NO_PROXY": "example.com"}, None),
        (SERVER, "", {**FROM_ENVIRONMENT, "NO_PROXY": ".example.com"}, None),
        (SERVER, "", {**FROM_ENVIRONMENT, "NO_PROXY": "*.example.com"}, None),
        (SERVER, "", {**FROM_ENVIRONMENT, "NO_PROXY": "ample.com"}, "http://proxy:3128"),
        (SERVER, "", {**FROM_ENVIRONMENT, "NO_PROXY": ".api.example.com"}, "http://proxy:3128"),
        (SERVER, "", {**FROM_ENVIRONMENT, "NO_PROXY": "api.example.com:6443"}, None),
        (SERVER, "", {**FROM_ENVIRONMENT, "NO_PROXY": "api.example.com:443"}, "http://proxy:3128"),
        ("https://10.1.2.3", "", {**FROM_ENVIRONMENT, "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://10.1.2.3", "", {**FROM_ENVIRONMENT, "NO_PROXY": "10.1.2.3"}, None),
        ("https://10.1.2.3", "", {**FROM_ENVIRONMENT, "NO_PROXY": "10.1.2.3:443"}, None),
        (
            "https://11.1.2.3",
            "",
            {**FROM_ENVIRONMENT, "NO_PROXY": "10.0.0.0/8"},
            "http://proxy:3128",
        ),
        ("https://11.1.2.3", "", {**FROM_ENVIRONMENT, "NO_PROXY": "10/x"}, "http://proxy:3128"),
        ("https://[fd00::1]:6443", "", {**FROM_ENVIRONMENT, "NO_PROXY": "fd00::/8"}, None),
        ("https://[fd00::1]:6443", "", {**FROM_ENVIRONMENT, "NO_PROXY": "[fd00::1]:6443"}, None),
        ("https://localhost:6443", "", FROM_ENVIRONMENT, None),
        ("https://127.0.0.1:6443", "", FROM_ENVIRONMENT, None),
    ],
)
def test_a_proxy_is_chosen_as_kubectl_chooses_it(
    server: str, proxy_url: str, environment: dict[str, str], url: str | None
) -> None:
    """`proxy-url` goes before NO_PROXY, capitals before small letters; ALL_PROXY never counts."""
    expected = None if url is None else Proxy(url)
    assert proxy_for(server, proxy_url, "proxy-url", environment) == expected


def test_a_proxy_gets_its_credentials_in_a_header() -> None:
    """The address keeps none of them, and no repr shows them."""
    proxy = proxy_for(SERVER, "http://user:p%40ss@proxy:3128", "proxy-url", {})
    assert proxy == Proxy("http://proxy:3128", {"proxy-authorization": "Basic dXNlcjpwQHNz"})
    assert "dXNl" not in repr(proxy)


@pytest.mark.parametrize(
    "url", ["http://u:hunter2@[::1", "socks5://proxy", "gopher://p", "http://", "http://p:x"]
)
def test_an_unusable_proxy_is_named_by_its_field(url: str) -> None:
    """The error names the field of the kubeconfig or the variable, and never the password."""
    for proxy_url, environment, where in (
        (url, {}, "file: clusters[0].cluster.proxy-url"),
        ("", {"HTTPS_PROXY": url}, "$HTTPS_PROXY"),
    ):
        with pytest.raises(GatewayError) as failed:
            proxy_for(SERVER, proxy_url, "file: clusters[0].cluster.proxy-url", environment)
        assert str(failed.value) == f"{where}: expected an http:// or https:// address of a proxy"
