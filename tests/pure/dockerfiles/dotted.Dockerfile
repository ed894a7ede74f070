FROM python:3.12 AS py3.12
FROM py3.12 AS deps.py3_12-x
COPY --from=py3.12 /a /b
