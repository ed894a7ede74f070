FROM localhost:5000/team/base:1.2 AS base
FROM debian@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef AS pinned
FROM base AS app
COPY --from=pinned /a /a
