//! A client that pushes: many connections on one thread, each a push after the other, in the clear.
//!
//! ```sh
//! cargo run --release --example load -- --address 127.0.0.1:5000 --clients 16 --seconds 10
//! ```
//!
//! Prints a line of JSON: how many pushes there were and how long they took. It speaks HTTP/1.1 by
//! hand, so that on a small machine the server has what a whole HTTP client would take of it.

#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use drift::digest::{Algorithm, Digest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Push blobs, each of other bytes, in one request each; or manifests, each under a tag of its own
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    /// Where the server listens
    #[arg(long)]
    address: String,
    /// Connections
    #[arg(long, default_value_t = 16)]
    clients: u64,
    /// For how long; without it until standard input ends
    #[arg(long)]
    seconds: Option<f64>,
    /// Bytes of a blob
    #[arg(long, default_value_t = 20_000)]
    bytes: usize,
    /// Push manifests, all of one blob of so many bytes
    #[arg(long)]
    manifests: bool,
    /// Pushes in this time at the beginning are not counted, in seconds
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arc::new(Arguments::parse());
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let clients: Vec<_> = (0..arguments.clients)
        .map(|number| tokio::spawn(push(arguments.clone(), number, began, stop.clone())))
        .collect();
    match arguments.seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds)).await,
        None => {
            let end = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            tokio::task::spawn_blocking(end).await??;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut taken = Vec::new();
    for client in clients {
        taken.extend(client.await??);
    }
    ensure!(!taken.is_empty(), "there was not a single push");
    taken.sort_unstable();
    let of_1000 = |part: usize| taken[(taken.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    println!(
        r#"{{"pushes": {}, "median_ms": {:.2}, "p99_ms": {:.2}, "p999_ms": {:.2}, "longest_ms": {:.2}}}"#,
        taken.len(),
        of_1000(500),
        of_1000(990),
        of_1000(999),
        of_1000(1000)
    );
    Ok(())
}

/// Pushes until told to stop; how long each push took, from its first byte to its whole answer.
async fn push(
    arguments: Arc<Arguments>,
    number: u64,
    began: Instant,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<Duration>> {
    let mut random = StdRng::from_rng(&mut rand::rng());
    let mut stream = TcpStream::connect(&arguments.address).await?;
    stream.set_nodelay(true)?;
    let mut blob = vec![0; arguments.bytes];
    random.fill_bytes(&mut blob);
    if arguments.manifests {
        let request = post(&arguments.address, number, &blob);
        stream.write_all(&request).await?;
        answer(&mut stream).await?;
    }
    let mut taken = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let request = match arguments.manifests {
            true => put(&arguments.address, number, &blob, random.next_u64()),
            false => {
                // Another blob each time, without making all of its bytes anew.
                let fresh = blob.len().min(32);
                random.fill_bytes(&mut blob[..fresh]);
                post(&arguments.address, number, &blob)
            }
        };
        let at = Instant::now();
        stream.write_all(&request).await?;
        answer(&mut stream).await?;
        if began.elapsed().as_secs_f64() >= arguments.warm_up {
            taken.push(at.elapsed());
        }
    }
    Ok(taken)
}

/// A blob in one request.
fn post(address: &str, number: u64, blob: &[u8]) -> Vec<u8> {
    let digest = Digest::of(Algorithm::Sha256, blob);
    let path = format!("blobs/uploads/?digest={digest}");
    request(
        "POST",
        address,
        number,
        &path,
        "application/octet-stream",
        blob,
    )
}

/// A manifest of that blob, under a tag that is its own.
fn put(address: &str, number: u64, blob: &[u8], tag: u64) -> Vec<u8> {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let digest = Digest::of(Algorithm::Sha256, blob);
    let size = blob.len();
    let body = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"application/octet-stream","digest":"{digest}","size":{size}}},"layers":[],"annotations":{{"load":"{tag}"}}}}"#
    );
    let path = format!("manifests/t{tag}");
    request("PUT", address, number, &path, media_type, body.as_bytes())
}

fn request(
    method: &str,
    address: &str,
    number: u64,
    path: &str,
    media_type: &str,
    body: &[u8],
) -> Vec<u8> {
    let head = format!(
        "{method} /v2/load/image-{number}/{path} HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Reads an answer without a body, which is to say 201.
async fn answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut bytes = Vec::with_capacity(1024);
    while !bytes.ends_with(b"\r\n\r\n") {
        ensure!(bytes.len() < ANSWER_BYTES_MAX, "the answer has no end");
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("the server closed the connection");
        }
    }
    let head = std::str::from_utf8(&bytes).context("the answer is no text")?;
    ensure!(
        head.starts_with("HTTP/1.1 201 "),
        "a push is answered {head}"
    );
    Ok(())
}
