# One image for the four services, the provider simulator and the commands: `docker run waybill serve router`.
FROM python:3.12-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/waybill
COPY requirements.txt .
RUN /opt/waybill/bin/pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY services services
RUN /opt/waybill/bin/pip install --no-deps .

FROM python:3.12-slim
# Fixed ids, so that volumes and Kubernetes can name them.
RUN groupadd --gid 10001 waybill \
    && useradd --uid 10001 --gid waybill --home-dir /var/lib/waybill --create-home waybill \
    && install -d -o waybill -g waybill -m 700 /var/lib/waybill/secrets /var/lib/waybill/simulator /var/lib/waybill/checkpoints \
        /var/lib/waybill/erasures
COPY --from=build /opt/waybill /opt/waybill
COPY config /etc/waybill
ENV PATH=/opt/waybill/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    WAYBILL_CONFIG_DIR=/etc/waybill \
    WAYBILL_HTTP_ADDR=0.0.0.0:8080
USER waybill
WORKDIR /var/lib/waybill
EXPOSE 8080
ENTRYPOINT ["waybill"]
