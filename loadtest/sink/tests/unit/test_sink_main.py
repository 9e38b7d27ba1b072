"""The command line: what is refused before anything listens."""

from pathlib import Path

import pytest

from mailwarren.sink.main import main
from mailwarren.sink.server import AddressError, parse_address


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--smtp", "127.0.0.1"], "'127.0.0.1' is not HOST:PORT"),
        (["--smtp-extra", ":25"], "':25' is not HOST:PORT"),
        (["--http", "127.0.0.1:70000"], "is not HOST:PORT"),
        (["--mx", "127.0.0.1:25"], "is not NAME=HOST:PORT"),
        (["--mx", "mx.test=25"], "'25' is not HOST:PORT"),
        (["--mode", "none"], "invalid Mode value: 'none'"),
        (["--script", "bad.toml"], "bad.toml: like is 'nobody', expected one of apple"),
        (["--auth", "joe"], "expected USER:PASS"),
        (["--keep", "-1"], "not a whole number"),
        (["--tls-cert", "x.pem"], "belong together"),
        (["--tls-cert", "none.pem", "--tls-key", "none.pem"], "cannot use the certificate"),
        (["--script", "none.json"], "cannot read none.json"),
        (["--script", "bad.json"], "bad.json: Object contains unknown field `greylist` - at `$.personas[0]`"),
    ],
)
def test_wrong_arguments_are_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text('{"personas": [{"domains": ["*"], "greylist": 5}]}')
    Path("bad.toml").write_text('[[personas]]\nlike = "nobody"\n')
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:25", ("::1", 25)), ("mx.test:65535", ("mx.test", 65_535))],
)
def test_addresses_are_split(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":", "x", ":25", "x:", "x:y", "x:65536", "x:-1", "x:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="HOST:PORT"):
        parse_address(text)
