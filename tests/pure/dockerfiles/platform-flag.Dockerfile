ARG WHERE=linux/amd64
FROM --platform=$BUILDPLATFORM golang AS build
FROM --platform=linux/arm64 debian AS arm
FROM --platform=${WHERE} alpine AS app
COPY --from=build /a /a
