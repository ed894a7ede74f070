FROM debian AS other
FROM debian AS base
ONBUILD RUN <<EOF
FROM nothing AS nowhere
EOF
ONBUILD COPY --from=other <<A /a <<-B /b/
ARG X=1
A
	$HOME
	B
FROM base
RUN true
