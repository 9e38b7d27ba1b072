import pytest

from mailwarren.store.engine import dsn, dsns, make_engine


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_all_forms_of_the_scheme_mean_the_same(scheme):
    assert dsn(f"{scheme}://u:p%40@h:1/d?sslmode=require") == "postgresql://u:p%40@h:1/d?sslmode=require"


@pytest.mark.parametrize("url", ["", "mysql://u:secret@h/d", "u:secret@h/d", "postgresql:u:secret@h", "sqlite:///x"])
def test_another_url_is_refused_without_being_repeated(url):
    with pytest.raises(ValueError, match="postgresql://") as caught:
        make_engine(url)
    assert "secret" not in str(caught.value)


def test_an_engine_does_not_show_its_password():
    assert "secret" not in repr(make_engine("postgresql://u:secret@127.0.0.1:1/d"))


@pytest.mark.parametrize(
    ("url", "each"),
    [
        ("postgresql://u:p@h:1/d?sslmode=require", ["postgresql://u:p@h:1/d?sslmode=require"]),
        ("postgresql:///d?host=/tmp", ["postgresql:///d?host=/tmp"]),
        (
            "postgresql+asyncpg://u:p%2C@a:1,b,[::1]:3/d?target_session_attrs=read-write",
            [f"postgresql://u:p%2C@{host}/d?target_session_attrs=read-write" for host in ("a:1", "b", "[::1]:3")],
        ),
    ],
)
def test_each_host_of_a_url_becomes_one_of_its_own(url, each):
    assert dsns(url) == each
