# The example's worker and its caller. From the root of the repository:
#   docker build -f examples/deploy/worker.Dockerfile -t zmqagents-worker:1 .
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY zmqagents zmqagents
RUN python -m venv /opt/zmqagents \
    && /opt/zmqagents/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/zmqagents /opt/zmqagents
WORKDIR /app
COPY examples/__init__.py examples/
COPY examples/deploy examples/deploy
ENV PATH=/opt/zmqagents/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can tell that it isn't root (runAsNonRoot).
USER 10001:10001
EXPOSE 8080
# Without a shell in between: SIGTERM reaches the worker.
ENTRYPOINT ["python", "-m"]
CMD ["examples.deploy.worker", "--probes", "0.0.0.0:8080"]
