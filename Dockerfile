# The pipeline in a container, for a run by hand or one that Prefect's worker starts: docs/scaling.md.
# BASE is any Debian with Python 3.11 to 3.13 as `python3`, its venv too.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS system
# tini hands SIGTERM to the flow, and ends what a killed process of a run has left.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home lightline \
    && install --directory --owner lightline /cache /code

# What is committed, and no more: no stash, no commit that was taken back, no experiment, no address of a remote.
# cuda: PyPI's torch, as in `make setup`. cpu: the same versions from torch's own index, without 4 GB of CUDA. The lock
# has no hashes of those two wheels, which are held to their exact versions and https; all others are held to hashes.
FROM system AS code
ARG TORCH=cuda
COPY .git /git/.git
RUN git clone --quiet --no-local /git /clone \
    && git -C /clone remote remove origin \
    && python3 /clone/tools/image_packages.py "$TORCH" /packages

FROM system
COPY --from=code /packages /opt/packages
# For an index of your own: `--secret id=pip,src=FILE`, a pip.conf that stays in no layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/venv \
    && install="/opt/venv/bin/pip install --no-cache-dir --no-deps --progress-bar off" \
    && if [ -e /opt/packages/torch.txt ]; then $install --requirement /opt/packages/torch.txt; fi \
    && $install --require-hashes --requirement /opt/packages/packages.txt \
    && /opt/venv/bin/pip check
COPY --from=code --chown=lightline /clone /code

# DO_NOT_TRACK: Prefect's own commands, which its workers start here, report their use otherwise.
ENV PATH=/opt/venv/bin:$PATH VIRTUAL_ENV=/opt/venv XDG_CACHE_HOME=/cache DO_NOT_TRACK=1
# By its number, which Kubernetes can tell from root's.
USER 1000
WORKDIR /code
# What is worth keeping: DVC's cache and the states of unfinished training, of each repository given as `repo`.
VOLUME /cache
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "flows.pipeline"]
