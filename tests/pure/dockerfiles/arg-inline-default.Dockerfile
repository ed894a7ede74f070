ARG SET=x
FROM ${BASE:-debian:trixie} AS base
FROM ${SET:+alpine} AS alt
FROM ${SET:-never} AS app
