FROM debian AS base
RUN <<EOF
cat > Dockerfile.inner <<INNER
FROM nobody AS inner
COPY --from=nowhere /a /b
INNER
EOF
FROM base AS app
RUN echo app
