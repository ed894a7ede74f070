FROM golang AS build
FROM debian AS app
COPY --link --chown=1:1 --chmod=755 --from=build ["/a b", "/c"]
ADD --checksum=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef https://example.org/x /x
