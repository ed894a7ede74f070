FROM debian AS base
RUN <<ONE cat && <<TWO cat
FROM one AS fake-one
ONE
FROM two AS fake-two
TWO
FROM base AS app
