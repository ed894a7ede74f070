FROM debian:trixie-slim
RUN echo one
