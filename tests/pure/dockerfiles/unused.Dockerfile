FROM debian AS base
FROM base AS lint
RUN echo lint
FROM lint AS lint-report
FROM base AS app
FROM alpine AS docs
FROM base AS last
COPY --from=app /a /a
