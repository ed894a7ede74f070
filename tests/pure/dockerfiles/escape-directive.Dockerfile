# escape=`
FROM debian AS base
RUN echo a `
  && echo b
COPY a\b `
  c:\
FROM base AS app
