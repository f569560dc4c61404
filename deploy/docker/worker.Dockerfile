# The generation worker and the training worker: docker build --file deploy/docker/worker.Dockerfile --tag conversation-assistant/worker .
# For a CUDA machine with --build-arg ACCELERATOR=gpu. Neither worker needs vLLM: drafts are the ML service's, training is TRL's and PEFT's.
# With the digest of a base that you have looked up: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG ACCELERATOR=cpu
# An image whose root has PyTorch's CPU wheel, for machines that do not reach PyTorch's index; without one it comes from there.
ARG WHEELS=scratch

# hadolint ignore=DL3006
FROM ${WHEELS} AS wheels

FROM ${PYTHON_IMAGE} AS build
ARG ACCELERATOR
ARG UV_VERSION=0.13.9
# Of a mirror of the package index, where there is one.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /build
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}" \
    && python -m venv --without-pip /opt/venv
COPY deploy/docker/sync.sh deploy/docker/
COPY deploy/locks/worker-${ACCELERATOR}.txt deploy/locks/
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=wheels,target=/wheels \
    sh deploy/docker/sync.sh "deploy/locks/worker-${ACCELERATOR}.txt"
COPY . .
# What builds the project is locked, too.
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv --no-deps --build-constraints deploy/locks/gateway-dev.txt .

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 assistant \
    && useradd --uid 10001 --gid assistant --home-dir /data --no-create-home --shell /usr/sbin/nologin assistant \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
# Whatever libraries keep goes to the data volume; the rest of the file system may be read-only.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/data HOME=/data WORKER_HEARTBEAT=/tmp/heartbeat \
    XDG_CACHE_HOME=/data/cache HF_HOME=/data/huggingface TRITON_CACHE_DIR=/data/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/data/cache/torchinductor
WORKDIR /data
USER 10001:10001
# A worker answers nobody; while it goes on, it touches a file twice a second.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, sys, time; sys.exit(time.time() - os.stat('/tmp/heartbeat').st_mtime > 60)"]
CMD ["python", "-m", "ml_service.jobs", "generation"]
