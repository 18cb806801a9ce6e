# The page over the bundled model, at http://localhost:7860:
#   docker build -t mbexplore . && docker run --rm -p 127.0.0.1:7860:7860 mbexplore
# Any other command: docker run --rm mbexplore predict "The capital of France is [MASK]."
# A smaller image, with torch for CPUs alone:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu -t mbexplore .
# Nothing is downloaded at run time. Another model: -e HF_HUB_OFFLINE=0 and a volume on HF_HOME.

FROM python:3.12-slim-bookworm AS build
ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY mbexplore ./mbexplore
COPY ui ./ui
COPY assets ./assets
RUN python -m venv /opt/mbexplore && /opt/mbexplore/bin/pip install --no-cache-dir .

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="mbexplore" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 1000 reader
COPY --from=build /opt/mbexplore /opt/mbexplore
ENV PATH="/opt/mbexplore/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    HF_HOME=/home/reader/models
USER 1000
WORKDIR /home/reader
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/', timeout=4)"]
ENTRYPOINT ["mbexplore"]
CMD ["ui", "--host", "0.0.0.0", "--port", "7860"]
