# Image of the code location cpu, of the web page and of the daemon. It has no torch.
# Build it from the top of the repository: make images. Every feature used here works without BuildKit.

# Any Debian with Python 3.11 to 3.13, its venv module and certificates. README.md makes one without a registry.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Wheels that `make wheels` left, if any. OFFLINE=1: take nothing from elsewhere.
COPY deploy/docker/wheels /wheels
ARG OFFLINE=
ENV UV_FIND_LINKS=/wheels UV_LINK_MODE=copy VIRTUAL_ENV=/opt/itrialspace/venv
RUN python3 -m venv /tool \
 && /tool/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --find-links /wheels ${OFFLINE:+--no-index} \
    uv==0.13.9 \
 && /tool/bin/uv venv --quiet --python "$(command -v python3)" "$VIRTUAL_ENV"
WORKDIR /src
COPY constraints.txt pyproject.toml ./
RUN /tool/bin/uv pip install --quiet --no-cache --compile-bytecode ${OFFLINE:+--no-index} -c constraints.txt \
    -r pyproject.toml --extra docker --extra k8s --extra postgres
COPY README.md LICENSE NOTICE ./
COPY itrialspace_assets itrialspace_assets
RUN /tool/bin/uv pip install --quiet --no-cache --compile-bytecode ${OFFLINE:+--no-index} --no-deps . \
 && "$VIRTUAL_ENV/bin/python" -c 'import importlib.util as u; assert u.find_spec("torch") is None, "torch is here"'

FROM ${BASE}
COPY --from=build /opt/itrialspace /opt/itrialspace
# Inputs, outputs and weights lie at these places in every container. Whatever the user's number is, its home is /tmp.
ENV VIRTUAL_ENV=/opt/itrialspace/venv PATH=/opt/itrialspace/venv/bin:/usr/local/bin:/usr/bin:/bin \
    ITRIALSPACE_DATA_DIR=/data ITRIALSPACE_OUTPUT_DIR=/out ITRIALSPACE_WEIGHTS_DIR=/weights \
    NODMAISI_MODELS_DIR=/weights/nodmaisi \
    HOME=/tmp USER=itrialspace LOGNAME=itrialspace MPLCONFIGDIR=/tmp/matplotlib \
    LANG=C.UTF-8 PYTHONUNBUFFERED=1 DAGSTER_DISABLE_TELEMETRY=1 HF_HUB_OFFLINE=1
WORKDIR /opt/itrialspace
USER 10001:10001
CMD ["its", "doctor"]
