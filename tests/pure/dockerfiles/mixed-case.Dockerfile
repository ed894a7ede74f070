FROM golang AS Builder
RUN echo go
FROM debian AS App
COPY --from=BUILDER /a /a
RUN --mount=type=bind,from=buildeR,target=/b echo b
