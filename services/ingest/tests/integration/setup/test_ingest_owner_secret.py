"""The Secret with the first API key, against a server that answers as the Kubernetes API does."""

import base64
import threading

import pytest

from mailwarren.ingest.commands import Failed
from mailwarren.ingest.commands.cluster import Secrets, claim

NAME = "mw-owner"


def value(kubernetes, key="api-key"):
    return base64.b64decode(kubernetes.secrets[NAME]["data"][key]).decode()


def ask(make=lambda: "made", wait=0.0, **others):
    with Secrets.of_this_pod(wait) as secrets:
        return claim(secrets, NAME, "api-key", make, others)


def test_it_is_made_once_and_found_again(kubernetes) -> None:
    assert ask(url="http://a/v1") == ("made", "created")
    assert kubernetes.secrets[NAME]["type"] == "Opaque"
    assert kubernetes.secrets[NAME]["metadata"]["namespace"] == "mail"
    assert ask(lambda: "another", url="http://a/v1") == ("made", "found")
    assert kubernetes.asked == ["GET", "POST", "GET"]
    assert (value(kubernetes), value(kubernetes, "url")) == ("made", "http://a/v1")


def test_what_is_missing_is_added_and_what_is_old_is_renewed(kubernetes) -> None:
    ask(url="http://a/v1")
    assert ask(lambda: "another", url="http://b/v1") == ("made", "completed")
    assert (value(kubernetes), value(kubernetes, "url")) == ("made", "http://b/v1")
    del kubernetes.secrets[NAME]["data"]["api-key"]
    assert ask(lambda: "another", url="http://b/v1") == ("another", "completed")
    assert value(kubernetes) == "another"


def test_many_at_once_get_the_same(kubernetes) -> None:
    together = threading.Barrier(3)

    def wait_for_all() -> None:
        kubernetes.before_create = None if together.n_waiting == 2 else kubernetes.before_create
        together.wait(10)

    kubernetes.before_create = wait_for_all
    found = []
    threads = [threading.Thread(target=lambda n=n: found.append(ask(lambda: f"made-{n}"))) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {told for told, _ in found} == {value(kubernetes)}
    assert sorted(done for _, done in found) == ["created", "found", "found"]


def test_a_change_between_reading_and_patching_is_read_again(kubernetes) -> None:
    ask()
    with Secrets.of_this_pod(0) as secrets:
        stale = secrets.read(NAME)
        secrets.add(NAME, {"x": "1"}, stale.version)

        class Late:
            """Reads too early once."""

            def __init__(self) -> None:
                self.reads = 0

            def read(self, name):
                self.reads += 1
                return stale if self.reads == 1 else secrets.read(name)

            add = staticmethod(secrets.add)

        late = Late()
        assert claim(late, NAME, "api-key", lambda: "another", {"y": "2"}) == ("made", "completed")
        assert late.reads == 2
    assert (value(kubernetes, "x"), value(kubernetes, "y")) == ("1", "2")


@pytest.mark.parametrize(
    ("verbs", "says"),
    [
        ({"create", "patch"}, "may not get Secret mw-owner in namespace mail"),
        ({"get", "patch"}, "may not create Secret mw-owner in namespace mail"),
    ],
)
def test_missing_rights_are_named(kubernetes, verbs, says) -> None:
    kubernetes.verbs = verbs
    with pytest.raises(Failed, match=says):
        ask(wait=30)


def test_a_namespace_that_is_gone_a_refused_token_and_a_broken_one(kubernetes) -> None:
    kubernetes.faults = [404, 404]
    with pytest.raises(Failed, match="did not find what create Secret"):
        ask()
    (kubernetes.account / "token").write_text("expired")
    with pytest.raises(Failed, match="does not accept this pod's service account token"):
        ask()
    (kubernetes.account / "token").unlink()
    with pytest.raises(Failed, match="automountServiceAccountToken"):
        ask()


def test_an_api_that_stumbles_is_asked_again_until_the_wait_is_over(kubernetes) -> None:
    kubernetes.faults = [500, "hang up", 503, 429]
    assert ask(wait=10) == ("made", "created")
    assert len(kubernetes.asked) == 6
    kubernetes.faults = [500] * 3
    with pytest.raises(Failed, match=r"could not get Secret mw-owner in namespace mail \(500\): etcdserver"):
        ask()
    kubernetes.faults = ["hang up"] * 3
    with pytest.raises(Failed, match="does not answer"):
        ask()


def test_a_certificate_of_another_authority_is_refused(kubernetes, tmp_path) -> None:
    import trustme

    trustme.CA().cert_pem.write_to_path(str(kubernetes.account / "ca.crt"))
    with pytest.raises(Failed, match=r"does not answer.*certificate"):
        ask()
    assert kubernetes.secrets == {}


def test_outside_of_a_cluster_it_says_so(monkeypatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Failed, match="inside a Kubernetes cluster"):
        Secrets.of_this_pod(0)


def test_a_secret_that_is_none_of_ours_is_refused(kubernetes) -> None:
    ask()
    kubernetes.secrets[NAME]["data"]["api-key"] = "%%%"
    with pytest.raises(Failed, match="is not one that can be used"):
        ask()
