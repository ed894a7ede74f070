FROM golang
RUN echo 0
FROM node AS web
RUN echo 1
FROM debian
COPY --from=0 /bin/app /bin/app
COPY --from=1 /web /web
