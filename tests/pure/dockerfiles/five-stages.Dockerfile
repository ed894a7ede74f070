FROM debian:trixie-slim AS base
RUN echo base

FROM base AS python-deps
COPY requirements.txt .
RUN echo python

FROM base AS node-deps
COPY package.json .
RUN echo node

FROM node-deps AS builder
COPY src src
RUN echo build

FROM base AS runtime
COPY --from=python-deps /opt/venv /opt/venv
COPY --from=builder /src/out ./
