"""Connections kept, shared, limited, replaced and closed."""

import asyncio
from collections import Counter

import pytest

from mailwarren.sender.smtp import (
    Command,
    Envelope,
    Host,
    Reply,
    Site,
    SiteLimits,
    Timeouts,
    Unreachable,
    UnreachableKind,
    prepare_data,
)

DATA = prepare_data(b"Subject: x\r\n\r\nx\r\n")


async def test_one_connection_serves_many_mails(server, send, pool):
    target = await server()

    for _ in range(10):
        assert (await send(target)).outcome.code == 250

    assert len(target.sessions) == 1
    (stats,) = pool.stats().sites
    assert (stats.name, stats.open, stats.busy, stats.idle, stats.waiting) == ("scripted", 1, 0, 1, 0)


async def test_five_hundred_sends_keep_to_the_limits_and_all_arrive(server, send, pool):
    target = await server()
    limits = SiteLimits(connections=7, messages_per_connection=20)

    results = await asyncio.gather(*(send(target, recipient=f"u{n}@x.example", limits=limits) for n in range(500)))

    assert Counter(result.outcome.code for result in results) == {250: 500}
    assert target.peak == 7
    assert max(session.mails for session in target.sessions) == 20
    assert len(target.sessions) == pytest.approx(500 / 20, abs=7)
    assert len({mail.recipient for mail in target.mails}) == 500
    assert pool.stats().failed_dials_total == 0


async def test_senders_are_served_in_the_order_in_which_they_came(server, send):
    target = await server()
    limits = SiteLimits(connections=1)

    await asyncio.gather(*(send(target, recipient=f"u{n}@x.example", limits=limits) for n in range(50)))

    assert [mail.recipient for mail in target.mails] == [f"TO:<u{n}@x.example>" for n in range(50)]


async def test_limits_that_come_with_a_later_mail_hold_from_then_on(server, send, until):
    target = await server()
    await asyncio.gather(*(send(target, limits=SiteLimits(connections=6)) for _ in range(60)))
    assert target.peak == 6

    await asyncio.gather(*(send(target, limits=SiteLimits(connections=2)) for _ in range(60)))

    await until(lambda: target.open == 2)


async def test_an_idle_connection_says_quit_and_goes(server, send, pool, until):
    target = await server()

    await send(target, limits=SiteLimits(idle=0.1))

    await until(lambda: target.open == 0 and pool.stats().sites == ())
    assert target.commands[-1] == "QUIT"


async def test_a_server_that_does_not_answer_quit_is_dropped(server, send, until):
    target = await server(answers={"QUIT": "hang"})

    await send(target, limits=SiteLimits(messages_per_connection=1))

    await until(lambda: target.open == 0)


async def test_a_kept_connection_that_answers_421_is_replaced_without_the_caller_seeing_it(server, send, pool):
    def second_mail(session) -> str:
        return "421 4.4.2 timed out" if session.mails else "250 ok"

    target = await server(answers={"MAIL": second_mail})
    asked = []

    for _ in range(3):
        assert (await send(target, may_send=lambda: asked.append(1) or True)).outcome.code == 250

    assert len(target.sessions) == len(target.mails) == len(asked) == 3
    assert pool.stats().retried_total == 2


async def test_no_other_kept_connection_takes_the_place_of_a_dead_one(server, send, until):
    target = await server(answers={"MAIL": lambda session: "421 4.4.2 one is enough" if session.mails else "250 ok"})
    await asyncio.gather(*(send(target) for _ in range(5)))
    await until(lambda: target.open == 5)

    assert (await send(target)).outcome.code == 250
    assert target.mails[-1].session == 6


async def test_a_fresh_connection_that_answers_421_is_not_tried_again(server, send):
    target = await server(answers={"MAIL": "421 4.3.2 going down"})

    assert (await send(target)).outcome == Reply(421, "going down", "4.3.2", Command.MAIL)
    assert len(target.sessions) == 1


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_kept_connection_that_breaks_before_the_data_is_replaced(server, send, verb):
    target = await server(extensions=())
    await send(target)
    target.answers[verb] = lambda session: "drop" if session.number == 1 else "354 go" if verb == "DATA" else "250 ok"

    assert (await send(target)).outcome.code == 250
    assert [mail.session for mail in target.mails] == [1, 2]


async def test_a_kept_connection_that_breaks_after_the_dot_is_never_retried(server, send):
    target = await server()
    await send(target)
    target.answers["DOT"] = "drop"

    result = await send(target)

    assert isinstance(result.outcome, Unreachable)
    assert (result.outcome.kind, result.outcome.dot_sent) == (UnreachableKind.LOST, True)
    assert len(target.sessions) == 1
    assert len(target.mails) == 1


async def test_kept_connections_of_a_restarted_server_are_all_replaced(server, send, until):
    target = await server()
    await asyncio.gather(*(send(target) for _ in range(30)))
    port, first = target.port, len(target.sessions)
    await target.stop()
    again = await server(port=port)

    results = await asyncio.gather(*(send(again) for _ in range(30)))

    assert first == 10
    assert Counter(result.outcome.code for result in results) == {250: 30}


async def test_a_retry_that_finds_nobody_reports_that(server, send):
    target = await server(answers={})
    await send(target)
    await target.stop()

    result = await send(target)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.CONNECT


async def test_the_next_host_takes_over_when_the_preferred_one_is_dead(server, send):
    alive = await server()
    dead = await server()
    await dead.stop()
    hosts = (
        Host("dead", dead.port, "127.0.0.1", preference=5),
        Host("alive", alive.port, "127.0.0.1", preference=10),
    )

    results = [await send(alive, hosts=hosts, limits=SiteLimits(messages_per_connection=1)) for _ in range(3)]

    assert [result.host for result in results] == [f"alive[127.0.0.1]:{alive.port}"] * 3


async def test_a_host_that_failed_is_skipped_for_a_while_and_then_tried_again(server, send, make_pool):
    primary, backup = await server(answers={"GREETING": "421 4.3.2 not now"}), await server()
    hosts = (Host("primary", primary.port, "127.0.0.1", 1), Host("backup", backup.port, "127.0.0.1", 2))
    pool = make_pool(host_hold=0.3)
    once = SiteLimits(messages_per_connection=1)

    for _ in range(3):
        assert (await send(backup, hosts=hosts, limits=once, through=pool)).host.startswith("backup")
    assert len(primary.sessions) == 1
    primary.answers.clear()
    await asyncio.sleep(0.3)

    assert (await send(backup, hosts=hosts, limits=once, through=pool)).host.startswith("primary")


async def test_equal_hosts_share_the_connections(server, send):
    one, two = await server(), await server()
    hosts = (Host("one", one.port, "127.0.0.1", 10), Host("two", two.port, "127.0.0.1", 10))

    await asyncio.gather(*(send(one, hosts=hosts, limits=SiteLimits(connections=20)) for _ in range(100)))

    assert min(len(one.sessions), len(two.sessions)) > 2


async def test_a_backup_that_refuses_for_good_does_not_speak_for_a_primary_that_is_down(server, send):
    backup, dead = await server(answers={"GREETING": "554 5.7.1 go away"}), await server()
    await dead.stop()
    hosts = (Host("dead", dead.port, "127.0.0.1", 5), Host("backup", backup.port, "127.0.0.1", 10))

    assert isinstance((await send(backup, hosts=hosts)).outcome, Unreachable)


async def test_a_thousand_senders_to_a_dead_host_all_hear_of_it_after_few_dials(server, send, pool):
    dead = await server()
    await dead.stop()

    results = await asyncio.gather(*(send(dead) for _ in range(1000)))

    assert {result.outcome.kind for result in results} == {UnreachableKind.CONNECT}
    assert pool.stats().failed_dials_total <= 20
    tried = pool.stats().failed_dials_total
    assert (await send(dead)).outcome.kind is UnreachableKind.CONNECT
    assert pool.stats().failed_dials_total == tried


async def test_a_server_that_allows_fewer_connections_than_we_would_open_gets_all_mail_over_those(server, send):
    def few(session) -> str:
        return "220 hello" if target.open <= 3 else "421 4.7.0 too many connections from you"

    target = await server(answers={"GREETING": few})
    limits = SiteLimits(connections=10, messages_per_connection=20)

    results = await asyncio.gather(*(send(target, limits=limits) for _ in range(300)))

    assert Counter(result.outcome.code for result in results) == {250: 300}
    assert len(target.sessions) < 300 / 20 + 3 + 20


async def test_a_host_name_that_does_not_resolve_is_a_dns_failure(server, send):
    target = await server()

    result = await send(target, hosts=(Host("no-such-host.invalid", target.port),))

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.DNS


async def test_destinations_of_one_site_share_its_limit_but_not_each_others_connections(server, send, pool):
    one, two = await server(), await server()
    limits = SiteLimits(connections=4, messages_per_connection=1000)

    async def both(n: int) -> None:
        target = (one, two)[n % 2]
        assert (await send(target, recipient=f"u{n}@x.example", limits=limits)).outcome.code == 250
        assert one.open + two.open <= 4

    await asyncio.gather(*(both(n) for n in range(400)))

    assert len(one.mails) == len(two.mails) == 200
    # A connection stays with its destination for some mails instead of being closed for each other one in line.
    assert len(one.sessions) + len(two.sessions) < 100


async def test_a_destination_that_waits_gets_a_slot_from_one_that_rests(server, send):
    one, two = await server(), await server()
    limits = SiteLimits(connections=1)

    for target in (one, two, one, two):
        assert (await send(target, limits=limits)).outcome.code == 250
    assert len(one.sessions) == len(two.sessions) == 2


async def test_a_cancelled_sender_leaves_the_line_without_taking_anything_with_it(server, send, until, pool):
    target = await server(answers={"DOT": "hang"})
    limits = SiteLimits(connections=1)
    first = asyncio.create_task(send(target, limits=limits))
    await until(lambda: target.commands[-1:] == ["DATA"])
    waiting = [asyncio.create_task(send(target, limits=limits, recipient=f"u{n}@x.example")) for n in range(10)]
    await until(lambda: pool.stats().sites[0].waiting == 10)

    for task in waiting[::2]:
        task.cancel()
    target.answers.clear()
    first.cancel()
    results = await asyncio.gather(first, *waiting, return_exceptions=True)

    assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 6
    assert [mail.recipient for mail in target.mails] == [f"TO:<u{n}@x.example>" for n in (1, 3, 5, 7, 9)]


async def test_a_dial_outlives_the_sender_for_whom_it_was_made(server, send, until):
    greet = asyncio.Event()

    async def when_told(session) -> None:
        await greet.wait()

    target = await server(before_greeting=when_told)
    limits = SiteLimits(connections=1)
    first = asyncio.create_task(send(target, limits=limits))
    await until(lambda: target.open == 1)
    second = asyncio.create_task(send(target, limits=limits))
    await asyncio.sleep(0.02)

    first.cancel()
    await asyncio.sleep(0.02)
    greet.set()

    assert (await second).outcome.code == 250
    assert len(target.sessions) == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_connection_that_nobody_waits_for_any_more_rests(server, send, pool, until):
    target = await server()
    task = asyncio.create_task(send(target))
    await until(lambda: pool.stats().sites != ())
    task.cancel()

    await until(lambda: pool.stats().sites[0].idle == 1)
    assert (await send(target)).outcome.code == 250
    assert len(target.sessions) == 1


async def test_a_dial_that_hangs_holds_up_no_mail_while_other_connections_serve(server, send, make_pool):
    async def only_the_first(session) -> None:
        if session.number > 1:
            await asyncio.sleep(3600)

    target = await server(before_greeting=only_the_first)
    pool = make_pool(timeouts=Timeouts(greeting=60.0))

    async with asyncio.timeout(2):
        results = await asyncio.gather(*(send(target, through=pool) for _ in range(50)))

    assert Counter(result.outcome.code for result in results) == {250: 50}
    assert pool.stats().sites[0].dialling == 9
    await pool.close(0.0)


async def test_a_server_that_hangs_up_after_ehlo_is_not_dialled_for_ever(nothing_leaks, make_pool):
    sessions = []

    async def serve(reader, writer):
        sessions.append(writer)
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250 hi\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    site = Site("x", (Host("localhost", listening.sockets[0].getsockname()[1], "127.0.0.1"),))
    pool = make_pool()

    results = [await pool.send(site, Envelope("", "b@b.example"), DATA, lambda: True) for _ in range(5)]

    assert {result.outcome.kind for result in results} == {UnreachableKind.LOST}
    assert not any(result.outcome.dot_sent for result in results)
    assert len(sessions) == 5
    await pool.close(1.0)
    listening.close()


@pytest.mark.parametrize("lag", [0, 1, 2, 3])
async def test_a_sender_cancelled_as_it_is_served_hands_on_what_it_got(server, send, until, lag):
    target = await server()
    limits = SiteLimits(connections=1)
    tasks = [asyncio.create_task(send(target, limits=limits, recipient=f"u{n}@x.example")) for n in range(30)]
    await until(lambda: len(target.mails) >= 1)
    for task in tasks[5::3]:
        await asyncio.sleep(0)
        task.cancel()
        for _ in range(lag):
            await asyncio.sleep(0)

    results = await asyncio.gather(*tasks, return_exceptions=True)

    sent = [result for result in results if not isinstance(result, asyncio.CancelledError)]
    assert len(sent) >= 20
    assert {result.outcome.code for result in sent} == {250}


async def test_unsolicited_words_on_an_idle_connection_end_it(nothing_leaks, make_pool, until):
    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            if line.startswith(b"DATA"):
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 ok\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    site = Site("x", (Host("localhost", listening.sockets[0].getsockname()[1], "127.0.0.1"),))
    pool = make_pool(timeouts=Timeouts())
    envelope = Envelope("a@a.example", "b@b.example")
    assert (await pool.send(site, envelope, DATA, lambda: True)).outcome.code == 250

    writers[0].write(b"421 4.4.2 idle too long\r\n")
    await until(lambda: pool.stats().sites == ())

    assert (await pool.send(site, envelope, DATA, lambda: True)).outcome.code == 250
    assert len(writers) == 2
    await pool.close(1.0)
    listening.close()
