FROM alpine AS tools
FROM node AS web
FROM debian AS app
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=bind,from=tools,source=/bin,target=/tools \
    --mount=from=web,target=/web,rw \
    --mount=type=cache,from=ghcr.io/team/seed:1,target=/seed \
    --network=none \
    echo a
