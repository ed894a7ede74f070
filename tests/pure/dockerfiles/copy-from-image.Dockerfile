FROM debian AS app
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/
COPY --from=nginx /etc/nginx /etc/nginx
COPY --from=busybox:1 /bin/busybox /bin/
