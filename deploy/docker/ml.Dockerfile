# The ML service: docker build --file deploy/docker/ml.Dockerfile --tag conversation-assistant/ml .
# For a CUDA machine with --build-arg ACCELERATOR=gpu: vLLM's wheels bring CUDA's libraries, the machine its driver.
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
COPY deploy/locks/ml-${ACCELERATOR}.txt deploy/locks/
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=wheels,target=/wheels \
    sh deploy/docker/sync.sh "deploy/locks/ml-${ACCELERATOR}.txt"
COPY . .
# What builds the project is locked, too.
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv --no-deps --build-constraints deploy/locks/gateway-dev.txt .

FROM ${PYTHON_IMAGE} AS cpu
# vLLM's kernels for processors look where memory is.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/*

FROM ${PYTHON_IMAGE} AS gpu
# Triton and FlashInfer compile small parts of their kernels when they are first used.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*

# hadolint ignore=DL3006
FROM ${ACCELERATOR}
RUN groupadd --gid 10001 assistant \
    && useradd --uid 10001 --gid assistant --home-dir /data --no-create-home --shell /usr/sbin/nologin assistant \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
# Whatever libraries keep goes to the data volume; the rest of the file system may be read-only.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 DATA_DIR=/data HOME=/data \
    XDG_CACHE_HOME=/data/cache VLLM_CACHE_ROOT=/data/cache/vllm HF_HOME=/data/huggingface TRITON_CACHE_DIR=/data/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/data/cache/torchinductor FLASHINFER_WORKSPACE_BASE=/data/cache
WORKDIR /data
USER 10001:10001
EXPOSE 8100
# Healthy while it can generate; a large model takes long to come over a slow line.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30m --retries=6 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8100/health', timeout=4)"]
CMD ["python", "-m", "ml_service"]
