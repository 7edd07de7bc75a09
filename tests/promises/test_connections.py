"""Certificates, proxies and hosts that cannot be reached."""

import ssl
from pathlib import Path

import pytest
import trustme

from tests.support.connector import TOKEN
from tests.support.injection import NO_SUCH_HOST, injected
from tests.support.raw_service import RawService, http_response

NOBODY = "http://127.0.0.1:1"
NO_EXCEPTIONS = {"no_proxy": "", "NO_PROXY": ""}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """TLS for a server on this machine, and the file of the authority that has signed it."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context, path


def test_a_certificate_that_is_not_trusted_is_final(connector, tls):
    """The request is not retried; a certificate in REQUESTS_CA_BUNDLE is trusted."""
    response = http_response(connector.body)
    context, path = tls
    with RawService(lambda connection, _number: connection.sendall(response), context) as service:
        trusted = connector.run(service.url, env={"REQUESTS_CA_BUNDLE": str(path)})
        outcome = connector.run(service.url)
    assert (trusted.exit_code, trusted.error_lines) == (0, [])
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    reason = "SSLCertVerificationError: unable to get local issuer certificate"
    assert line.endswith(f"orders (topic 1): no secure connection ({reason}); check api_url")
    assert "retrying in" not in outcome.stderr


def test_a_connection_that_is_cut_during_the_handshake_is_retried(connector):
    with RawService(lambda _connection, _number: None) as service:
        # The service reads the handshake as an incomplete request, and never responds.
        outcome = connector.run(
            service.url.replace("http:", "https:"), request_timeout_secs=1, max_retry_secs=1
        )
    assert outcome.exit_code == 1
    assert "no complete response" in outcome.error_lines[-1]
    assert "retrying in" in outcome.stderr


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named(connector, content):
    """A retry would not help if REQUESTS_CA_BUNDLE has no file or a malformed one."""
    path = connector.folder / "certificates.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with RawService(lambda _connection, _number: None) as service:
        url = service.url.replace("http:", "https:")
        outcome = connector.run(url, env={"REQUESTS_CA_BUNDLE": str(path)}, max_retry_secs=1)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "orders (topic 1): cannot read the CA certificates; check REQUESTS_CA_BUNDLE" in line
    assert "retrying in" not in outcome.stderr


def test_a_failed_first_connection_is_logged_immediately(connector):
    env = injected(connector.folder / "site", NO_SUCH_HOST)
    outcome = connector.run("https://no-such-host.invalid", env=env, max_retry_secs=1)
    assert outcome.exit_code == 1
    text = "orders (topic 1): no complete response (gaierror: Name or service not known"
    warning = next(line for line in outcome.stderr.splitlines() if "WARNING" in line)
    assert text in warning
    assert "check the network and api_url; retrying in" in warning
    [line] = outcome.error_lines
    assert text in line


def test_a_service_on_this_machine_is_never_requested_through_a_proxy(connector):
    """The proxy variables do not apply, because the token is sent in clear text."""
    response = http_response(connector.body)
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), NOBODY)
    with RawService(lambda connection, _number: connection.sendall(response)) as service:
        outcome = connector.run(service.url, env={**proxies, **NO_EXCEPTIONS})
    assert (outcome.exit_code, outcome.error_lines) == (0, [])


@pytest.mark.parametrize(
    "proxy",
    ["http://user:pass-word@", "http://us er:pass-word@pro xy:99999", "socks5://u:pass-word@h"],
)
def test_the_password_of_a_proxy_is_redacted(connector, proxy):
    env = {"https_proxy": proxy, "LOGLEVEL": "DEBUG", **NO_EXCEPTIONS}
    outcome = connector.run("https://example.invalid", env=env, max_retry_secs=0)
    assert outcome.exit_code == 1
    assert "proxy" in outcome.error_lines[-1]
    assert "pass-word" not in outcome.stderr


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (407, "HTTP 407: the proxy requires a user name and password"),
        (502, "no complete response (the proxy responded with HTTP 502)"),
    ],
)
def test_a_proxy_that_does_not_connect_is_reported(connector, status, words):
    response = http_response(b"", status=f"{status} {TOKEN}")
    with RawService(lambda connection, _number: connection.sendall(response)) as service:
        env = {"https_proxy": service.url.replace("//", "//user:pass-word@"), **NO_EXCEPTIONS}
        outcome = connector.run("https://example.invalid", env=env, max_retry_secs=0)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert words in line
    assert TOKEN not in outcome.stderr
    assert "pass-word" not in outcome.stderr
