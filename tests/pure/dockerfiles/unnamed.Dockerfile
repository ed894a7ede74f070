FROM debian
RUN echo 0
FROM alpine
RUN echo 1
FROM busybox
RUN echo 2
