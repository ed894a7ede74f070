ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS app
