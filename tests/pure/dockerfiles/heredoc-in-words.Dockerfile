FROM debian AS base
RUN echo "<<EOF" && echo a \<\<EOF
RUN ["sh", "-c", "cat <<EOF"]
FROM base AS app
