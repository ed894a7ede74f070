FROM golang AS build
FROM debian AS base
ONBUILD COPY --from=build /a /a
FROM base AS app
