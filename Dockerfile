# The program is built where a Rust and a C compiler are, and runs where neither is.
FROM rust:1.95-bookworm AS builder

WORKDIR /app
COPY Cargo.toml Cargo.lock ./
COPY migrations/ ./migrations/
COPY src/ ./src/
# Cargo wants every target of the manifest to be there, built or not.
COPY examples/ ./examples/
RUN cargo build --release --locked --bin drift

FROM debian:bookworm-slim

# A volume that is mounted here for the first time takes over this directory's owner.
RUN useradd --system --uid 10001 --no-create-home drift \
    && install -d -o drift -g drift /var/lib/drift/storage
COPY --from=builder /app/target/release/drift /usr/local/bin/
# Whom hosts elsewhere have to be vouched for by: keys of issuers are asked for over TLS.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/

# In a container, the network is where Drift is reached from at all.
ENV DRIFT_SERVER_HOST=0.0.0.0
ENV DRIFT_STORAGE_PATH=/var/lib/drift/storage
# The first start makes the account admin, and writes its password to keys/initial-admin-password in
# the volume.
ENV DRIFT_AUTH_ENABLED=true

USER drift
VOLUME /var/lib/drift/storage
EXPOSE 5000 5001 5002
# Whether pushes and pulls could be served. It reads the configuration as the server does: what `--config`
# names there has to be named here as well.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["drift", "health"]
# Its SIGTERM lets transfers finish: give it 30 s (docker stop -t 30).
CMD ["drift"]
