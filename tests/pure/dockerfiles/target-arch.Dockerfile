FROM --platform=$BUILDPLATFORM golang AS bin-amd64
FROM --platform=$BUILDPLATFORM golang AS bin-arm64
FROM bin-${TARGETARCH} AS app
