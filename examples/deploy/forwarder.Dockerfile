# The forwarder, without AutoGen: of zmqagents' dependencies it needs these three. From the root of the repository:
#   docker build -f examples/deploy/forwarder.Dockerfile -t zmqagents-forwarder:1 .
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY zmqagents zmqagents
RUN python -m venv /opt/zmqagents \
    && /opt/zmqagents/bin/pip install --no-cache-dir --no-deps . \
    && /opt/zmqagents/bin/pip install --no-cache-dir "msgpack>=1.0.8" "msgspec>=0.18" "pyzmq>=26"

FROM python:3.13-slim
COPY --from=build /opt/zmqagents /opt/zmqagents
ENV PATH=/opt/zmqagents/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can tell that it isn't root (runAsNonRoot).
USER 10001:10001
EXPOSE 50051 8080
# Without a shell in between: SIGTERM reaches the forwarder.
ENTRYPOINT ["zmqagents-forwarder"]
CMD ["--bind", "tcp://0.0.0.0:50051", "--health", "0.0.0.0:8080", "--log-format", "json"]
