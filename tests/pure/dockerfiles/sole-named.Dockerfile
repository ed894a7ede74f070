FROM debian:trixie-slim AS app
COPY . /app
