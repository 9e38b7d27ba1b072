# Every image of Mailwarren, one build for each:
#
#   docker build --build-arg SERVICE=sender --tag mailwarren-sender .
#
# SERVICE is ingest, sender, tracker, flower, sink or load. An image holds that service and what it imports, no more: the sender has
# no database driver and no web framework. The ingest image also has the command `mailwarren` (topology, migrate, dead).
# Where a proxy signs TLS with a CA of its own: --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt
ARG SERVICE
# With its registry: podman and buildah ask which one is meant otherwise.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ARG SERVICE
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_SYSTEM_CERTS=1 \
    UV_PYTHON=python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_CACHE_DIR=/var/cache/uv \
    UV_PROJECT_ENVIRONMENT=/app
# For strip, below. It stays in this stage, so what matters is the newest, not which.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
# The version that bin/bootstrap_steps/uv_tool.py names.
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /opt/uv \
    && /opt/uv/bin/python -m pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
WORKDIR /src
# What we import comes first: this layer stays until uv.lock or a member's dependencies change.
COPY pyproject.toml uv.lock ./
COPY libs/contracts/pyproject.toml libs/contracts/
COPY libs/devstack/pyproject.toml libs/devstack/
COPY libs/runtime/pyproject.toml libs/runtime/
COPY libs/store/pyproject.toml libs/store/
COPY loadtest/load/pyproject.toml loadtest/load/
COPY loadtest/sink/pyproject.toml loadtest/sink/
COPY services/flower/pyproject.toml services/flower/
COPY services/ingest/pyproject.toml services/ingest/
COPY services/sender/pyproject.toml services/sender/
COPY services/tracker/pyproject.toml services/tracker/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv sync --frozen --no-dev --no-install-workspace --package "mailwarren-${SERVICE}"
COPY libs libs
COPY services services
COPY loadtest/load loadtest/load
COPY loadtest/sink loadtest/sink
# Not editable: our packages are copied into the environment, which is all that the image keeps.
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv sync --frozen --no-dev --no-editable --package "mailwarren-${SERVICE}"
# A third of the environment is of no use where it runs: debug symbols of compiled modules, other packages' own tests,
# sources for C compilers and type checkers. What SENTRY_DSN and OTEL_EXPORTER_OTLP_ENDPOINT need is not compiled
# beforehand: most never load it, and with them a start takes a tenth of a second longer. The imports at the end prove
# that nothing else went.
WORKDIR /app/lib
RUN find . -type f -name '*.so*' -exec strip --strip-unneeded {} + \
    && find . -depth -type d '(' -name test -o -name tests -o -name testing ')' -exec rm -r {} + \
    && find . -depth -type d -name __pycache__ '(' -path '*/sentry_sdk/*' -o -path '*/google/*' \
        -o -path '*/opentelemetry/sdk/*' -o -path '*/opentelemetry/exporter/*' -o -path '*/opentelemetry/proto/*' \
        -o -path '*/opentelemetry/semconv/*' ')' -exec rm -r {} + \
    && find . -type f '(' -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.pxd' -o -name '*.pyx' \
        -o -name '*.pyi' ')' -delete \
    && rm -rf ../include ../bin/activate* ../bin/deactivate* ../bin/*.bat

FROM ${PYTHON_IMAGE} AS runtime
# A name for the user id, because some libraries look for one; it owns nothing and has no home.
RUN groupadd --gid 10001 mailwarren \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin mailwarren
COPY LICENSE /usr/share/doc/mailwarren/LICENSE
COPY --from=build /app /app
ENV PATH="/app/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
# Probes and Prometheus (MAILWARREN_METRICS_PORT).
EXPOSE 9464

# ENTRYPOINT cannot use an ARG, so each service has a stage that is nothing but its command, and the last stage picks
# one. All are in exec form: the service is process 1 and gets SIGTERM itself.

FROM runtime AS ingest
EXPOSE 8080 8081
ENTRYPOINT ["/app/bin/ingest"]
CMD ["api"]

FROM runtime AS flower
EXPOSE 5555
ENTRYPOINT ["/app/bin/mailwarren-flower"]
CMD []

FROM runtime AS tracker
ENTRYPOINT ["/app/bin/tracker"]
CMD ["consume"]

# It is told its queues (-Q send.bulk.google,send.bulk.h0; all without) and its name (-n) where it is deployed.
FROM runtime AS sender
ENTRYPOINT ["/app/bin/celery", "-A", "mailwarren.sender.main:app", "worker", "-P", "solo", "-c", "1", \
            "--without-gossip", "--without-mingle", "--without-heartbeat"]
CMD []

FROM runtime AS sink
EXPOSE 2525 8025
ENTRYPOINT ["/app/bin/mailwarren-sink"]
CMD ["--smtp", "0.0.0.0:2525", "--http", "0.0.0.0:8025"]

# Locust's users are no package: Locust alone imports them. Its page is on 8089, workers come to 5557 of the master.
FROM runtime AS load
COPY loadtest/locustfile.py /app/load/locustfile.py
COPY loadtest/scenarios /app/load/scenarios
EXPOSE 5557 8089
ENTRYPOINT ["/app/bin/mailwarren-load", "--locustfile", "/app/load/locustfile.py"]
CMD ["run"]

# hadolint ignore=DL3006
FROM ${SERVICE}
ARG SERVICE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mailwarren-${SERVICE}" \
      org.opencontainers.image.description="Mailwarren, distributed self-hosted e-mail sending: ${SERVICE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The user that will run it can import every module of the service. Importing them does nothing else.
RUN python -c "import importlib, pkgutil; \
    package = importlib.import_module('mailwarren.${SERVICE}'); \
    found = [one.name for one in pkgutil.walk_packages(package.__path__, package.__name__ + '.')]; \
    print(package.__name__, len([importlib.import_module(name) for name in found]), 'modules')"
