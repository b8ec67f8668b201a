# The image of every Patchbay process: one static binary, nothing to run a shell with, nothing fetched when it runs.

FROM golang:1.26.8-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Time zones are linked in: the final image has none.
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags timetzdata -ldflags='-s -w' -o /out/bin/patchbay . \
	&& mkdir -p /out/etc/ssl/certs \
	&& cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
	&& echo 'patchbay:x:65532:65532::/:/sbin/nologin' > /out/etc/passwd

# Health checks run inside the container. busybox acts by the name it is called: under this one it is wget and no shell.
FROM busybox:1.37.0-musl AS probe

FROM scratch
COPY --from=build /out/ /
COPY --from=probe /bin/busybox /bin/wget
USER 65532:65532
ENTRYPOINT ["/bin/patchbay"]
CMD ["--help"]
