"""What each column is: by its name, or as the caller says."""

from typing import Any

import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.domain.imports.columns import ColumnMap, Columns, map_columns, parse_column_map, plain, wishes
from mailwarren.ingest.domain.imports.request import Asked, check_filename, read_encoding, read_fields
from mailwarren.ingest.domain.properties import Property
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.store.states import PropertyType, Subscription


def declared(*keys: str, kind: PropertyType = PropertyType.STRING) -> list[Property]:
    made: Any = None
    return [Property(id=new_id(), key=key, type=kind, fallback=None, created_at=made) for key in keys]


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(Refusal) as caught:
        call(*arguments)
    assert caught.value.status == 422
    return caught.value.message


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["email"], Columns(email=0)),
        (["Vorname", "Nachname", "E-Mail-Adresse"], Columns(email=2, first_name=0, last_name=1)),
        (["First Name", "last_name", "EMAIL ADDRESS"], Columns(email=2, first_name=0, last_name=1)),
        (["Prénom", "courriel", "Unsubscribed"], Columns(email=1, first_name=0, unsubscribed=2)),
        (["Mail", "email"], Columns(email=1)),
        (["email", "Mail"], Columns(email=0)),
        (["email", "Company Name", "PLAN"], Columns(email=0, properties={"company_name": 1, "plan": 2})),
        (["email", "mail"], Columns(email=0)),
    ],
)
def test_columns_are_known_by_their_names(names: list[str], wanted: Columns) -> None:
    assert map_columns(names, declared("company_name", "plan"), None) == wanted


def test_a_property_of_exactly_this_name_goes_before_the_words_of_others() -> None:
    assert map_columns(["email", "nombre"], declared("nombre"), None).properties == {"nombre": 1}
    assert map_columns(["email", "Nombre"], declared("nombre"), None) == Columns(email=0, first_name=1)


def test_what_the_caller_maps_is_imported_and_nothing_else() -> None:
    names = ["E-Mail", "Given", "Plan", "last_name"]
    asked = parse_column_map('{"email": "E-Mail", "first_name": "given", "properties": {"plan": "Plan"}}')
    found = map_columns(names, declared("plan"), asked)
    assert found == Columns(email=0, first_name=1, properties={"plan": 2})
    assert [found.meaning(place) for place in range(4)] == ["email", "first_name", "properties.plan", None]
    beside = parse_column_map('{"email": "E-Mail", "plan": {"column": "Plan", "type": "string"}}')
    assert map_columns(names, declared("plan"), beside) == Columns(email=0, properties={"plan": 2})


def test_a_property_with_a_type_is_declared() -> None:
    asked = parse_column_map('{"email": "e", "properties": {"seats": {"column": "s", "type": "number"}, "plan": "p"}}')
    [wish] = wishes(asked, declared("plan"))
    assert (wish.key, wish.type) == ("seats", PropertyType.NUMBER)
    assert wishes(asked, declared("plan", "seats")) == wishes(None, []) == []
    with pytest.raises(Refusal, match="digits and underscores"):
        wishes(ColumnMap(properties=parse_column_map('{"a b": {"column": "x", "type": "string"}}').properties), [])


@pytest.mark.parametrize(
    ("names", "asked", "said"),
    [
        (["a@x.org", "Ada"], None, "The first line looks like a contact"),
        (["Name"], None, "no column is named like an email address; the columns are `Name`."),
        (["Email"], '{"first_name": "Email"}', "Missing `column_map.email` field"),
        (
            ["Email"],
            '{"email": "Mail"}',
            "there is no column `Mail`; the columns are `Email`.",
        ),
        (["Mail", "Mail"], '{"email": "Mail"}', "several columns are named `Mail`"),
        (["e", "p"], '{"email": "e", "properties": {"x": "p"}}', "Unknown `column_map.properties.x` field"),
        (["e", "p"], '{"email": "e", "plan": {"column": "p", "type": "number"}}', "declared as string"),
    ],
)
def test_a_mapping_that_cannot_be_says_why(names: list[str], asked: str | None, said: str) -> None:
    mapping = None if asked is None else parse_column_map(asked)
    assert said in refused(map_columns, names, declared("plan"), mapping)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"email": 1}', '{"properties": 1}', '{"plan": {"col": "x"}}', "[" * 10_000]
)
def test_a_column_map_that_is_none_is_refused(text: str) -> None:
    assert refused(parse_column_map, text).startswith("Invalid `column_map` field: ")


def test_names_are_compared_without_letter_case_accents_and_signs() -> None:
    assert plain("  Prénom_2 ") == "prenom2"
    assert plain("公司") == ""


def test_the_fields_of_a_call() -> None:
    ident = new_id()
    topics = f'[{{"id": "{ident}", "subscription": "opt_out"}}]'
    asked = read_fields({"on_conflict": "upsert", "segments": f'[{{"id": "{ident}"}}]', "topics": topics})
    assert isinstance(asked, Asked)
    assert asked.on_conflict == "upsert"
    assert asked.segments[0].id == asked.topics[0].id == ident
    assert asked.topics[0].subscription is Subscription.OUT
    assert read_fields({"segments": "", "delimiter": ";"}).on_conflict == "skip"
    assert read_encoding({"encoding": "Windows-1252"}) == "windows-1252"
    assert read_encoding({}) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"on_conflict": "replace"}, "`on_conflict`"),
        ({"webhooks": "yes"}, "`webhooks`"),
        ({"segments": '["x"]'}, "`segments[0]`"),
        ({"segments": "{}"}, "`segments`"),
        ({"topics": '[{"id": "x", "subscription": "opt_in"}]'}, "`topics[0].id`"),
        ({"delimiter": "x"}, "`delimiter`"),
        ({"audience": "x"}, "Unknown `audience` field"),
    ],
)
def test_fields_that_cannot_be_are_named(fields: dict[str, str], said: str) -> None:
    assert said in refused(read_fields, fields)


def test_a_list_that_is_no_json_is_named() -> None:
    with pytest.raises(Refusal, match="The `topics` field is not valid JSON") as caught:
        read_fields({"topics": "["})
    assert caught.value.status == 400


def test_names_of_files_are_shown_without_folders() -> None:
    assert check_filename("C:\\lists\\people.csv") == check_filename("../../people.csv") == "people.csv"
    assert check_filename("a\r\nb\x00.csv") == "ab.csv"
    assert check_filename("/") == check_filename("") == "import.csv"
    assert len(check_filename("x" * 500)) == 200
