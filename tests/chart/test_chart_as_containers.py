"""``make chart-run`` can run what the chart renders: every pod of our services becomes a container."""

from pathlib import Path

from mailwarren.devstack.cluster.chart import Render
from mailwarren.devstack.cluster.chart_run import chart_values
from mailwarren.devstack.cluster.manifests import workloads
from mailwarren.devstack.cluster.pods import Data, aliases_of, translate

URLS = ("amqp://a:b@10.89.0.1:5672/mailwarren", "http://a:b@10.89.0.1:15672", "postgresql://a:b@10.89.0.1:5432/m")


def test_every_pod_becomes_a_container(helm4) -> None:
    manifests = Render(helm4, settings=chart_values(*URLS, "t1")).manifests()
    data = Data.of(manifests)
    pods = [one for one in workloads(manifests) if not one.is_hook]
    assert {one.service for one in pods} == {"ingest", "sender", "tracker", "sink"}
    for one in pods:
        made = translate(one, data, name=one.name, folder=Path("/f"), aliases=aliases_of(one, manifests))
        assert made.image.startswith("localhost/mailwarren-")
        assert made.image.endswith(":t1")
        assert {"--read-only", "--cap-drop", "--user", "--memory"} <= set(made.options)
        assert ("MAILWARREN_LOG_LEVEL=INFO\n" in made.env_text()) == (one.service != "sink")
        if one.service == "sender":
            assert "@10.89.0.1:5672/" in made.env["MAILWARREN_AMQP_URL"]
            assert made.env["MAILWARREN_SMTP_URL"] == "smtp://mw-sink.mail.svc:2525"
            assert made.arguments[0] == "-Q"
    sink = next(one for one in pods if one.service == "sink")
    assert "mw-sink.mail.svc" in aliases_of(sink, manifests)
