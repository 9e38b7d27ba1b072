"""The rivals' mail: what a person gets."""

from pathlib import Path

import pytest
from jinja2 import TemplateNotFound

from mailwarren.baselines.letter import Letter


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    (tmp_path / "subject.txt").write_text("For {{ name }}\n")
    (tmp_path / "text.txt").write_text("Hello {{ name }}\n")
    (tmp_path / "html.html").write_text("<p>Hello {{ name }}</p>\n")
    return tmp_path


def test_a_mail_is_text_and_html_and_only_the_html_is_escaped(templates: Path) -> None:
    mail = Letter(templates, "Ada <ada@sender.test>").addressed_to("bob@d.test", {"name": "Bob & Søn"})
    assert (mail["From"], mail["To"], mail["Subject"]) == ("Ada <ada@sender.test>", "bob@d.test", "For Bob & Søn")
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert text.get_content().rstrip("\n") == "Hello Bob & Søn"
    assert html.get_content().rstrip("\n") == "<p>Hello Bob &amp; Søn</p>"
    assert mail["Date"].datetime is not None


def test_each_mail_has_a_message_id_of_the_senders_domain(templates: Path) -> None:
    letter = Letter(templates, "Ada <ada@sender.test>")
    ids = {letter.addressed_to("bob@d.test", {})["Message-ID"] for _ in range(3)}
    assert len(ids) == 3
    assert all(one.endswith("@sender.test>") for one in ids)


def test_a_missing_template_is_named_before_anything_is_sent(templates: Path) -> None:
    (templates / "html.html").unlink()
    with pytest.raises(TemplateNotFound, match=r"html\.html"):
        Letter(templates, "ada@sender.test")
