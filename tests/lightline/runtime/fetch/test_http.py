"""From where and how much is downloaded: what the parameters allow, whatever a server or a name says."""

import gzip
import hashlib
import re
import socket

import pytest
import yaml

from lightline.runtime.fetch import http
from lightline.runtime.fetch.errors import FetchError
from lightline.runtime.fetch.fetch import fetch
from lightline.sources.benchmarks import BENCHMARKS
from tests.support import ROOT
from tests.support.serving import CONTENT, SHA256, get, kept
from tests.support.source_settings import RULES, STRICT


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_above_the_limit_is_not_kept(server, repository, announced):
    server.headers = {} if announced else {"Transfer-Encoding": "identity"}
    rules = RULES.model_copy(update={"max_bytes": 5_000_000})
    with pytest.raises(FetchError, match=r"images.zip has more bytes than data.fetch.max_bytes = 5000000; raise that"):
        fetch([f"{server.url}/images.zip"], "sha256", SHA256, rules, pauses=(0,))
    assert len(server.requests) == 1
    assert kept(repository) == []


def test_http_and_addresses_of_this_machine_have_to_be_asked_for(server):
    url = f"{server.url}/images.zip"
    with pytest.raises(FetchError, match=r"images.zip was not asked: http is not encrypted, and data.fetch.allow_http"):
        fetch([url], "sha256", SHA256, STRICT)
    rules = STRICT.model_copy(update={"allow_http": True})
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        with pytest.raises(FetchError, match=r"leads to (127.0.0.1|::1|::ffff:\S+), an address of this machine"):
            fetch([url.replace("127.0.0.1", host)], "sha256", SHA256, rules, pauses=(0,))
    assert server.requests == []


@pytest.mark.parametrize("header", ["Location", "URI"])  # aiohttp follows either
@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x", "http://", "//["])
def test_a_redirect_to_anything_but_http_is_refused(server, repository, header, location):
    server.headers = {header: location}
    server.answers = [(302, b"")]
    with pytest.raises(FetchError, match=r"leads (from http )?to|is not a URL|cannot be reached"):
        get(f"{server.url}/images.zip")
    assert kept(repository) == []


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "[fe80::1]", "[::1]", "0.0.0.0"]
)
def test_a_redirect_into_the_network_is_refused_before_a_byte_is_sent(server, address, monkeypatch):
    server.headers = {"Location": f"http://{address}/secret?key=s3cret"}
    server.answers = [(302, b"")]
    rules = RULES.model_copy(update={"allow_private": False})
    monkeypatch.setattr(http, "_proxies", lambda: {"127.0.0.1"})  # the start alone may be here
    with pytest.raises(FetchError, match=f"leads to {re.escape(address.strip('[]'))}, an address of this machine or"):
        fetch([f"{server.url}/images.zip"], "sha256", SHA256, rules, pauses=())
    assert server.requests == ["/images.zip"]


def test_a_name_that_stands_for_an_address_inside_is_refused(server, monkeypatch):
    def look_up(host, *rest, **options):
        return real("127.0.0.1" if host == "inside.example.org" else host, *rest, **options)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    rules = RULES.model_copy(update={"allow_private": False})
    url = f"http://inside.example.org:{server.server_port}/images.zip"
    with pytest.raises(FetchError, match=r"leads to 127.0.0.1, an address of this machine"):
        fetch([url], "sha256", SHA256, rules, pauses=())
    assert server.requests == []
    assert fetch([url], "sha256", SHA256, RULES).read_bytes() == CONTENT


def test_the_users_own_proxy_may_be_inside(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    rules = RULES.model_copy(update={"allow_private": False})
    assert fetch(["http://example.org/images.zip"], "sha256", SHA256, rules).read_bytes() == CONTENT
    assert server.requests == ["http://example.org/images.zip"]


def test_a_compressed_answer_is_taken_as_it_comes(server):
    packed = gzip.compress(bytes(10**6))
    server.headers, server.answers = {"Content-Encoding": "gzip"}, [(200, packed)]
    assert get(f"{server.url}/x", hashlib.sha256(packed).hexdigest()).read_bytes() == packed


@pytest.mark.parametrize("name", BENCHMARKS)
def test_conf_allows_http_where_the_authors_offer_nothing_else(name):
    fetching = yaml.safe_load((ROOT / f"conf/data/{name}.yaml").read_text())["fetch"]
    has_https = any(url.startswith("https://") for url in BENCHMARKS[name].base_urls)
    assert fetching["allow_http"] is not has_https
    assert fetching["allow_private"] is False
