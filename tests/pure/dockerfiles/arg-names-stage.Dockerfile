ARG FLAVOUR=small
FROM debian AS base-small
FROM ubuntu AS base-large
FROM base-${FLAVOUR} AS app
