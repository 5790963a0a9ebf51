# nerf_ssim with its kernels, for a CPU or for NVIDIA GPUs. Not built yet by anybody: hadolint has read it, no more.
#
#   docker build --target cpu  --tag nerf_ssim:cpu .
#   docker build --target cuda --tag nerf_ssim:cuda .
#   docker run --rm --volume "$PWD/runs:/home/user/runs" nerf_ssim:cpu train --config room.txt --ssim_remove_at 70
#   docker run --rm --gpus all --volume "$PWD/runs:/home/user/runs" nerf_ssim:cuda train --config room.txt
#
# TORCH is what pip installs as PyTorch; its CUDA and the base image's must be of one major version.

FROM python:3.11-slim-bookworm AS cpu
ARG TORCH="torch==2.14.1 torchvision==0.29.1"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The versions of Debian's packages are those of the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
# PyTorch comes first, because the kernels are built against the one that is there. Its words are packages.
# hadolint ignore=SC2086,DL3013
RUN pip install --no-cache-dir ${TORCH} \
    && pip install --no-cache-dir "/source[eval,report,video,export]" \
    && python /source/.ci/smoke.py --kernels native
RUN useradd --create-home --uid 10001 user
USER 10001
WORKDIR /home/user
ENTRYPOINT ["nerf-ssim"]
CMD ["doctor"]

FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS cuda
ARG TORCH="torch==2.14.1 torchvision==0.29.1"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libgl1 libglib2.0-0 python3 python3-venv python3-dev \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /environment
ENV PATH="/environment/bin:$PATH" NERF_SSIM_CUDA=1
COPY . /source
# No GPU is visible while an image is built, so that kernels are compiled for all of them.
# hadolint ignore=SC2086,DL3013
RUN pip install --no-cache-dir ${TORCH} \
    && pip install --no-cache-dir "/source[eval,report,video,export]" \
    && python /source/.ci/smoke.py --kernels native
RUN useradd --create-home --uid 10001 user
USER 10001
WORKDIR /home/user
ENTRYPOINT ["nerf-ssim"]
CMD ["doctor"]
