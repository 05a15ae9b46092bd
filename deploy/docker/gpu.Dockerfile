# Image of the code location gpu: that of cpu, with what renderers and readers on a GPU need.
# Build it from the top of the repository: make images.
ARG CPU_IMAGE=itrialspace-cpu

FROM ${CPU_IMAGE} AS cpu

FROM cpu AS build
USER 0
COPY deploy/docker/wheels /wheels
ARG OFFLINE=
# torch and torchvision come from one index, or they do not fit each other. Empty: the usual one, built for CUDA.
ARG TORCH_INDEX=
ENV UV_FIND_LINKS=/wheels UV_LINK_MODE=copy
RUN python3 -m venv /tool \
 && /tool/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --find-links /wheels ${OFFLINE:+--no-index} \
    uv==0.13.9
WORKDIR /src
COPY constraints.txt pyproject.toml ./
RUN /tool/bin/uv pip install --quiet --no-cache --compile-bytecode ${OFFLINE:+--no-index} \
    ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -c constraints.txt torch torchvision
RUN /tool/bin/uv pip install --quiet --no-cache --compile-bytecode ${OFFLINE:+--no-index} -c constraints.txt \
    -r pyproject.toml --extra nodmaisi --extra models
# Operators of torchvision that are compiled are found only where the two fit.
RUN python -c 'import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)' \
 && python -c 'import monai, open_clip, transformers'

FROM cpu
COPY --from=build /opt/itrialspace /opt/itrialspace
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
