FROM python:3.13 AS base
RUN <<'PY'
#!/usr/bin/env python3
print("""
FROM quoted AS fake
""")
PY
FROM base AS app
