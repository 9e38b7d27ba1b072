"""A list is exported as any other, and who is missing out of a broadcast is found."""

import csv
import io

from mailwarren.load.domains import Person
from mailwarren.load.lists import broadcast_body, csv_file, missing_from

PEOPLE = [Person("ada.lovelace1@gmail.com", "Ada Lovelace"), Person('q"u,o@x.test', 'Q"u O, te')]


def test_a_list_has_a_line_for_each() -> None:
    rows = list(csv.reader(io.StringIO(csv_file(PEOPLE).decode())))
    assert rows == [
        ["E-Mail", "First name", "Last name"],
        ["ada.lovelace1@gmail.com", "Ada", "Lovelace"],
        ['q"u,o@x.test', 'Q"u', "O, te"],
    ]


def test_a_broadcast_names_its_run_and_its_reader() -> None:
    body = broadcast_body("segment", "run-1")
    assert (body["segment_id"], "run-1" in body["name"]) == ("segment", True)
    assert "contact.first_name" in body["subject"]


def test_who_has_no_email_is_missing() -> None:
    wanted = [one.address for one in PEOPLE]
    assert missing_from({wanted[0]: 1}, wanted) == wanted[1:]
    assert missing_from(dict.fromkeys(wanted), wanted) == []
