# The image holds one static binary and the certificates of public authorities, nothing else: no shell, no package manager, no libc.
# Any builder will do (no BuildKit syntax):
#
#   docker build --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(date -u +%FT%TZ) -t spawnwatch .
#
# It runs as 65532 with a read-only root file system and no capabilities; it writes only where a configuration names a file.
FROM golang:1.26.8-alpine AS build
WORKDIR /src
# Modules come in a layer of their own: it is made again only when they change.
COPY go.mod go.sum ./
# Empty: the default of Go.
ARG GOPROXY=
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /spawnwatch ./cmd/spawnwatch

FROM scratch
ARG VERSION=devel
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="spawnwatch" \
      org.opencontainers.image.description="Finds every created workload in Kubernetes audit logs and publishes an alert" \
      org.opencontainers.image.source="https://github.com/spawnwatch/spawnwatch" \
      org.opencontainers.image.documentation="https://github.com/spawnwatch/spawnwatch/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /spawnwatch /spawnwatch
USER 65532:65532
# Forward, webhook, admin.
EXPOSE 24224 8443 9464
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 CMD ["/spawnwatch", "health", "-c", "/etc/spawnwatch/spawnwatch.yaml"]
ENTRYPOINT ["/spawnwatch"]
CMD ["run", "-c", "/etc/spawnwatch/spawnwatch.yaml"]
