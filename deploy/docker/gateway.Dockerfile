# The gateway: docker build --file deploy/docker/gateway.Dockerfile --tag conversation-assistant/gateway .
# With the digest of a base that you have looked up: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# What is installed: backup adds PostgreSQL's programs, for `gateway backup` and `gateway restore`.
ARG LOCK=gateway

FROM ${PYTHON_IMAGE} AS build
ARG LOCK
ARG UV_VERSION=0.13.9
# Of a mirror of the package index, where there is one.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /build
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}" \
    && python -m venv --without-pip /opt/venv
COPY deploy/locks/${LOCK}.txt deploy/locks/
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip sync --python /opt/venv --require-hashes "deploy/locks/${LOCK}.txt"
COPY . .
# What builds the project is locked, too.
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv --no-deps --build-constraints deploy/locks/gateway-dev.txt .

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 assistant \
    && useradd --uid 10001 --gid assistant --home-dir /tmp --no-create-home --shell /usr/sbin/nologin assistant \
    # An empty volume that is mounted here, as a restore does, belongs to that user then.
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0
WORKDIR /tmp
USER 10001:10001
EXPOSE 3100
# Ready while PostgreSQL answers.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3100/health/ready', timeout=4)"]
CMD ["gateway", "serve"]
