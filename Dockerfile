# The program is built where a Rust and a C compiler are, and runs where there is nothing but it: no
# shell, no package manager.
FROM rust:1.95-bookworm AS builder

WORKDIR /app
COPY Cargo.toml Cargo.lock ./
COPY migrations/ ./migrations/
COPY src/ ./src/
# Cargo wants every target of the manifest to be there, built or not.
COPY examples/ ./examples/
# Names of functions stay in the program for traces of panics; lines of them are three quarters of its size.
ENV CARGO_PROFILE_RELEASE_DEBUG=0
RUN cargo build --release --locked --bin drift
# What the image gets besides: the last stage has nothing that could make a directory.
RUN mkdir -p /root-of-image/drift/storage && chmod 700 /root-of-image/drift/storage

# Distroless and not static: it brings the C library of the same Debian that the program was built on, so what
# runs here is the program that every test has run. With musl all of it links as well, its C libraries too, and
# nothing would be faster for it: the allocator is mimalloc with either. It also brings the certificates by which
# hosts elsewhere are vouched for, as keys of issuers are asked for over TLS.
FROM gcr.io/distroless/cc-debian12

COPY --from=builder /app/target/release/drift /usr/local/bin/
# A volume that is mounted here for the first time takes over this directory's owner. The number is what older
# images had, so that their volumes fit.
COPY --from=builder --chown=10001:10001 /root-of-image/ /var/lib/

# In a container, the network is where Drift is reached from at all.
ENV DRIFT_SERVER_HOST=0.0.0.0
ENV DRIFT_STORAGE_PATH=/var/lib/drift/storage
# The first start makes the account admin, and writes its password to keys/initial-admin-password in
# the volume.
ENV DRIFT_AUTH_ENABLED=true

# As a number, which Kubernetes can tell from root.
USER 10001:10001
VOLUME /var/lib/drift/storage
EXPOSE 5000 5001 5002
# Whether pushes and pulls could be served. It reads the configuration as the server does: what `--config`
# names there has to be named here as well.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["drift", "health"]
# Its SIGTERM lets transfers finish: give it 30 s (docker stop -t 30).
CMD ["drift"]
