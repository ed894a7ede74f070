# FROM comment AS no
FROM debian AS base
LABEL note="FROM label AS no"
ENV FROM=env
RUN echo "\
FROM string AS no"
	FROM base AS app
