FROM debian AS base
COPY <<Dockerfile.a <<-"Dockerfile.b" /files/
FROM a AS fake-a
Dockerfile.a
	FROM b AS fake-b
	ONE
	Dockerfile.b
FROM base AS app
