FROM alpine AS alpine
RUN echo mine
FROM alpine AS app
