ARG V=1
FROM debian AS build
ARG V
RUN one
FROM build AS Build
RUN two
FROM build AS tools
FROM debian AS BUILD
RUN three
FROM scratch
COPY --from=build /x /x
COPY --from=tools /y /y
COPY --from=+0 /z /z
