FROM golang AS build
FROM scratch AS files
COPY --from=build /a /a
FROM scratch
COPY --from=files /a /a
