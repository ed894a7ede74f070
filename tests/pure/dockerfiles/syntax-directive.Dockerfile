# syntax=docker/dockerfile:1
# check=skip=all
FROM debian AS base
FROM base AS app
