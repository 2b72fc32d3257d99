# Two stages: the first compiles, the second holds one static binary and its settings.
#
#     docker build -t pldns .
#     docker run -p 53:53/udp -p 53:53/tcp -v ./pldns:/etc/pldns:ro pldns

# Alpine, because its Rust targets musl by nature: the binary links nothing at run time, on whatever processor the
# image is built for. The version is the oldest one that Cargo.toml allows, so that the image proves it.
FROM rust:1.95-alpine AS build

# The start files of musl, and the linker that releases are linked with.
RUN apk add --no-cache lld musl-dev

WORKDIR /src
COPY . .

# Symbols are for debuggers, which the image has not: without them it is a fifth of the size.
ENV CARGO_PROFILE_RELEASE_STRIP=symbols

# As deploy/release.sh --flags prints them.
ENV RUSTFLAGS="-C llvm-args=-inline-instr-cost=8 --cfg getrandom_backend=\"linux_getrandom\""

# --locked: what was tested is what is built. The binary must start here, with the settings of the image, or there is
# no image; and it must not ask for a loader, which the second stage does not have.
RUN cargo rustc --release --locked --bin pldns -- \
        -C link-arg=-fuse-ld=lld -C link-arg=-Wl,--pack-dyn-relocs=relr -C link-arg=-Wl,--icf=all \
    && target/release/pldns check --config deploy/image/pldns.toml \
    && if ldd target/release/pldns 2>&1 | grep -q '=>'; then echo 'pldns is not static'; exit 1; fi \
    && mkdir -p /image/etc/pldns/records \
    && cp target/release/pldns /image/pldns \
    && cp deploy/image/pldns.toml /image/etc/pldns/pldns.toml

# Nothing but our own files: no shell, no package that could need an update.
FROM scratch
COPY --from=build /image/ /

ARG VERSION=0.1.0
ARG COMMIT=unknown
# Where this image is built from; a release passes its repository's address.
ARG SOURCE=https://example.invalid/pldns
LABEL org.opencontainers.image.title="pldns" \
      org.opencontainers.image.description="The DNS server for Azure private endpoints" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"

# A number, not a name, for there is no /etc/passwd, and because Kubernetes checks runAsNonRoot by number.
USER 65532:65532

# DNS needs both. Port 53 without root works where the container's net.ipv4.ip_unprivileged_port_start is 53 or less.
# Where it is not, add that setting, or listen higher up and let the service map the port:
#     pldns serve --listen 0.0.0.0:5353
EXPOSE 53/udp 53/tcp

# The settings are mounted over /etc/pldns: pldns.toml and records/. What is in the image are the defaults and an empty
# table, that is, a caching forwarder to Azure DNS. Other commands: docker run --rm pldns check
ENTRYPOINT ["/pldns"]
CMD ["serve"]

# /readyz says 503, queries are answered for [listen] drain (5 s in the image's settings, because docker stop kills after
# 10 s: --stop-timeout or stop_grace_period for more), then what is in flight.
STOPSIGNAL SIGTERM
