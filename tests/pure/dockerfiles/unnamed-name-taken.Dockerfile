FROM debian AS stage-1
RUN echo 0
FROM alpine
COPY --from=stage-1 /a /a
