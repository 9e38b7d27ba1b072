# `make` alone shows what there is. No target needs another one run before it.
# Recipes use relative paths only, so that a clone may lie in a folder with spaces. Variables of the command line
# (TO=…, SMTP_URL=…) reach them through the environment, where make puts them: a password may hold any character.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
PYTHON := .venv/bin/python
DEVSTACK := $(PYTHON) -m mailwarren.devstack

.PHONY: help demo up down status logs send scale monitor test bench benchmarks profile lint fmt unit memory series sizing broker-loss bootstrap clean minbase-check test-rabbitmq4 chart-test check-schemas chart-run verify-cluster images images-test compose-env dashboards dashboard-types load stress shaping-check fairness import-check crash-rounds broker-cut broadcast-check listing-check fuzz

help: ## show this list
	@echo "Mailwarren. Usage: make TARGET"; echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-16s %s\n' "$$name" "$$text"; done

demo: bootstrap ## bring everything up, send 10,000 personalised mails from a CSV, account for every one
	@$(DEVSTACK) demo

up: bootstrap ## start the whole system on this machine; SMTP_URL=smtp+starttls://user:pass@host:587 sends for real
	@$(DEVSTACK) up

down: ## stop it; its data stays
	@if [ -x $(PYTHON) ]; then $(DEVSTACK) down; fi

status: ## what runs, since when, and how often it was restarted
	@if [ -x $(PYTHON) ]; then $(DEVSTACK) status; else echo "Nothing runs: this clone was never started."; fi

logs: bootstrap ## follow the logs of all processes (or of one: NAME=ingest)
	@$(DEVSTACK) logs $${NAME:+"$$NAME"}

send: bootstrap ## send one mail through the API: TO=me@example.com [FROM=you@example.com]
	@$(DEVSTACK) send $${TO:+--to "$$TO"} $${FROM:+--from "$$FROM"}

scale: bootstrap ## run SENDERS=n sender processes for each lane, WORKERS=n workers
	@$(DEVSTACK) scale $${SENDERS:+"$$SENDERS"} $${WORKERS:+--workers "$$WORKERS"}

monitor: ## a private Prometheus with all rules and alerts on the running system, until ^C
	@bin/bootstrap --with-prometheus
	@$(DEVSTACK) monitor

load: bootstrap ## Locust on the running system: SCENARIO=mixed|single|batch|bulk|status|spike|day USERS RATE TIME WORKERS WEB=1 URL KEY
	@MAILWARREN_API_KEY="$${KEY:-$${MAILWARREN_API_KEY:-}}" $(DEVSTACK) load $${WEB:+--serve} -- $${SCENARIO:+--scenario "$$SCENARIO"} \
	    $${USERS:+--users "$$USERS"} $${RATE:+--rate "$$RATE"} $${TIME:+--time "$$TIME"} $${WORKERS:+--workers "$$WORKERS"} \
	    $${MOST:+--most "$$MOST"} $${URL:+--url "$$URL" --sink "$${SINK:-}"}

test: ## everything: lint, types, import rules, unit, integration, end to end
	@bin/test

unit: bootstrap ## the tests that need no server
	@$(PYTHON) -m pytest -q $(wildcard libs/*/tests/unit services/*/tests/unit loadtest/*/tests/unit tests/rules)

memory: bootstrap ## a sender's memory through 200,000 mails (three minutes)
	@MAILWARREN_MEMORY_MAILS=200000 $(PYTHON) -m pytest -q -s tests/e2e/test_sender_memory.py

listing-check: bootstrap ## a million emails listed by recipient, state and tag: milliseconds of a first page (MAILS=1000000; minutes)
	@bin/bootstrap --with-rabbitmq
	@MAILWARREN_LISTING_MAILS=$(or $(MAILS),1000000) $(PYTHON) -m pytest -q -s services/ingest/tests/integration/test_ingest_listing.py

fuzz: bootstrap ## Schemathesis on every route of the API, with EXAMPLES=300 for each (many minutes; K=part of a route)
	@bin/bootstrap --with-rabbitmq
	@MAILWARREN_FUZZ_EXAMPLES=$(or $(EXAMPLES),300) $(PYTHON) -m pytest -q services/ingest/tests/integration/test_ingest_fuzz.py \
	    $(if $(K),-k '$(K)')

import-check: bootstrap ## a million contacts from a CSV file: rows a second, and memory of API and worker (ROWS=1000000)
	@bin/bootstrap --with-rabbitmq
	@MAILWARREN_IMPORT_ROWS=$(or $(ROWS),1000000) $(PYTHON) -m pytest -q -s tests/e2e/test_imports.py -k large
broadcast-check: ## a broadcast to 100,000 contacts: start, recipients a second, what the API's callers wait, the ledger (minutes); CONTACTS=
	@$(PYTHON) -m mailwarren.bench.broadcast_check $${CONTACTS:+--contacts "$$CONTACTS"}

shaping-check: ## three senders keep a site's limit for a minute while one is added and one killed; the receiver counts
	@bin/bootstrap --with-rabbitmq
	@MAILWARREN_SHAPING_SECONDS=60 $(PYTHON) -m pytest -q -s tests/e2e/test_shaping_limits.py

fairness: ## 1,000 high mails while 200,000 bulk mails wait, with and without a site's limit (minutes)
	@bin/bootstrap --with-rabbitmq
	@MAILWARREN_FAIRNESS=1 $(PYTHON) -m pytest -q -s tests/e2e/test_fairness.py

series: ## series of each service after 100,000 mails to 10,000 domains, and what a scrape costs (minutes)
	@bin/bootstrap --with-rabbitmq
	@MAILWARREN_SERIES_MAILS=50000 MAILWARREN_SERIES_DOMAINS=5000 $(PYTHON) -m pytest -q -s \
	    tests/monitoring/test_series.py

bench: bootstrap ## mails a second and CPU a mail, beside smtplib, a textbook mailer and Postfix; RUNS='high connections backlog'
	@.venv/bin/mailwarren-bench $(RUNS)

sizing: ## what a sender pod, a waiting mail and a recorded mail take, as docs/operations/sizing.md has it (seven minutes)
	@bin/bootstrap --with-rabbitmq
	@$(PYTHON) -m mailwarren.bench.sizing

broker-loss: ## three RabbitMQ nodes under load, of which two are killed in turn: rates, and that nothing is lost (two minutes)
	@bin/bootstrap --with-rabbitmq
	@$(PYTHON) -m mailwarren.bench.broker_loss

stress: bootstrap ## completion time, rate, errors and bottleneck over the stress grid; QUICK=1 ONLY='glob …' FRESH=1 PUBLISH=1
	@.venv/bin/mailwarren-stress $${QUICK:+--quick} $${ONLY:+--only "$$ONLY"} $${SCALE:+--scale "$$SCALE"} $${FRESH:+--fresh} $${PUBLISH:+--publish docs/stress}

crash-rounds: ## senders killed under load, then every mail accounted for (minutes): ROUNDS=20 MAILS=50000 SEED=1
	@bin/bootstrap --with-rabbitmq
	@.venv/bin/mailwarren-chaos crash-rounds $${ROUNDS:+--rounds "$$ROUNDS"} $${MAILS:+--mails "$$MAILS"} $${SEED:+--seed "$$SEED"}

broker-cut: ## the broker's connections cut under 150 mails in flight: a sender's, and a naive Celery worker's
	@bin/bootstrap --with-rabbitmq
	@.venv/bin/mailwarren-chaos broker-cut

benchmarks: bootstrap ## the hot paths one by one: route, render, classify, codec, SMTP client, record a batch (K=name)
	@$(PYTHON) -m pytest -q loadtest/bench/tests/benchmarks -o python_files='bench_*.py' -o python_functions='bench_*' \
	    -k '$(or $(K),bench)' --benchmark-columns=min,median,stddev,ops,rounds --benchmark-sort=name

profile: bootstrap ## the costliest functions of ingest, sender and tracker under load (py-spy; root, or ptrace_scope 0)
	@.venv/bin/mailwarren-profile

dashboards: bootstrap ## write Grafana's dashboards anew from their code in deploy/grafana
	@.venv/bin/mailwarren-dashboards

dashboard-types: dashboards ## check the dashboards' types with Grafana's own TypeScript schema (needs node and npm)
	@bin/dashboard-types

lint: bootstrap ## ruff, mypy and the import rules
	@bin/test --lint

images: ## build the container images (docker or podman); REGISTRY=registry/you TAG=1.2.3 pushes them
	@bin/images

images-test: bootstrap ## (root, Debian) build the images, send 1,000 mails through them, stop them; minutes
	@$(PYTHON) bin/images_check

compose-env: ## make .env with passwords for compose.yaml, if there is none
	@bin/compose-env

fmt: bootstrap ## let ruff format and mend what it can
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

bootstrap: ## install what is missing, and nothing else (every target above does this itself)
	@bin/bootstrap

clean: ## stop the system and delete its data, .venv and caches: only what make made
	@if [ -x $(PYTHON) ]; then $(DEVSTACK) clean; fi
	@rm -rf .local .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find bin libs services loadtest tests -name __pycache__ -type d -prune -exec rm -rf {} +

minbase-check: ## (root) run make demo in a fresh minimal Debian, as root and as an ordinary user; T=target
	@bin/minbase-check $(T)

test-rabbitmq4: bootstrap ## (root, Debian) the tests with a broker on RabbitMQ 4.0 and 4.3, from newer Debians (DEBIAN=trixie)
	@bin/rabbitmq4

chart-test: bootstrap ## the Helm chart: helm 3 and 4, schemas of Kubernetes, security, network paths, bad values
	@$(PYTHON) -m pytest -q tests/chart

check-schemas: bootstrap ## custom resources and skaffold.yaml against definitions: SCHEMAS=folder (crds/*.yaml, skaffold-*.json)
	@bin/check-schemas "$${SCHEMAS:?SCHEMAS=folder says where the definitions are}"

chart-run: bootstrap ## (root) the chart's own pods as podman containers, after make images-test
	@bin/chart-run

verify-cluster: bootstrap ## install, scale, upgrade and roll back on kubectl's current context; PLAN=--plan prints the commands
	@bin/verify-cluster $(PLAN)
