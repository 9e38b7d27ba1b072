"""What may be loaded without a word, and what only when it is meant."""

import pytest

from mailwarren.load.place import MEANT, refusal


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/v1", "http://[::1]:8080/v1", "http://localhost/v1", "http://10.1.2.3/v1",
        "http://192.168.1.9:80/v1", "https://[fd00::1]/v1", "http://mw-ingest/v1", "http://mw-ingest.mail.svc/v1",
        "http://mw-ingest.mail.svc.cluster.local:80/v1", "http://mail.internal/v1",
    ],
)  # fmt: skip
def test_near_systems_may_be_loaded(url: str) -> None:
    assert refusal(url, meant=False) is None


@pytest.mark.parametrize(
    "url", ["https://mail.example.com/v1", "http://8.8.8.8/v1", "http://svc.example.com/v1", "http://0.0.0.0/v1"]
)
def test_others_only_when_meant(url: str) -> None:
    assert MEANT in str(refusal(url, meant=False))
    assert refusal(url, meant=True) is None


@pytest.mark.parametrize("url", ["", "mail.internal/v1", "ftp://localhost/v1", "http:///v1", "http://[::1/v1"])
def test_what_is_no_address_is_refused_whatever_is_meant(url: str) -> None:
    assert "no address" in str(refusal(url, meant=True))
