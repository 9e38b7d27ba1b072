"""``mailwarren-chaos crash-rounds | broker-cut``: exit status 1 when a mail is lost, or came twice without a reason."""

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for on a system of its own."""
    parser = argparse.ArgumentParser(prog="mailwarren-chaos", description="Hurts a running system, and counts.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    crash = kinds.add_parser("crash-rounds", help="kill senders at random moments under load")
    crash.add_argument("--rounds", type=int, default=20)
    crash.add_argument("--mails", type=int, default=50_000)
    crash.add_argument("--seed", type=int, default=1)
    kinds.add_parser("broker-cut", help="cut the broker's connections under 150 mails: ours, and a naive worker's")
    asked = parser.parse_args(argv)

    from mailwarren.bench.stand import Stand, tidy_on_sigterm

    tidy_on_sigterm()
    if asked.kind == "broker-cut":
        from mailwarren.chaos.cut import compare

        with Stand(senders={}, retry_scale=0.01) as stand:
            return compare(stand, tell=_say)

    from mailwarren.chaos.report import report
    from mailwarren.chaos.rounds import run

    _say(f"{asked.rounds} rounds over {asked.mails:,} mails, seed {asked.seed}; retries wait a hundredth of their time")
    with Stand(senders={}, retry_scale=0.01) as stand:
        account = run(stand.system, rounds=asked.rounds, mails=asked.mails, seed=asked.seed, tell=_say)
    print(report(account))
    return 0 if account.holds else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
