"""Routing, rendering and the codec: what every service does with every mail."""

from mailwarren.bench.work import HTML, make_work
from mailwarren.contracts.codec import decode_parcel, encode, encode_parcel, parcel_headers
from mailwarren.contracts.events import Kind, Outcomes
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.routing import domain_of, route
from mailwarren.contracts.shards import shard_of
from mailwarren.contracts.template import render
from mailwarren.contracts.testing import an_attempt
from mailwarren.sender.domain.render import build_mail
from mailwarren.sender.events import make_event
from mailwarren.sender.smtp import prepare_data

MANY = make_work(1000)


def bench_route_1000(benchmark):
    def run():
        return [(route(Lane.BULK, domain_of(one.to)), shard_of(domain_of(one.to))) for one in MANY]

    assert len(benchmark(run)) == 1000


def bench_render_html(benchmark):
    assert "Name1" in benchmark(render, HTML, MANY[1].variables, html=True)


def bench_build_mail(benchmark, parcel):
    data = benchmark(lambda: prepare_data(build_mail(parcel.content, parcel.deliveries[7], parcel.accepted_at)))
    assert data.endswith(b"\r\n.\r\n")


def bench_encode_parcel_of_50(benchmark, parcel):
    assert decode_parcel(benchmark(encode_parcel, parcel), parcel_headers(parcel)) == parcel


def bench_decode_parcel_of_50(benchmark, parcel):
    body, headers = encode_parcel(parcel), parcel_headers(parcel)
    assert benchmark(decode_parcel, body, headers) == parcel


def bench_outcomes_of_50(benchmark, parcel):
    """Events made and encoded, as a sender reports a parcel."""

    def run():
        tried = an_attempt()
        return encode(
            Outcomes(tuple(make_event(parcel, one, Kind.DELIVERED, tried=tried) for one in parcel.deliveries))
        )

    assert benchmark(run).count(b"delivered") >= 50


def bench_event_id(benchmark, parcel):
    one = parcel.deliveries[0]
    assert benchmark(event_id, one.id, 1, Kind.DELIVERED).version == 5
