//! A client that pushes: many connections on one thread, each a push after the other, in the clear.
//!
//! ```sh
//! cargo run --release --example load -- --address 127.0.0.1:5000 --clients 16 --seconds 10
//! ```
//!
//! Prints a line of JSON: how many pushes there were and how long they took. It speaks HTTP/1.1 by
//! hand, so that on a small machine the server has what a whole HTTP client would take of it.

#![allow(missing_docs)]

use std::fmt::Write as _;
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

/// Push blobs, each of other bytes, in one request each
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
    let mut taken = Vec::new();
    let mut request = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // Another blob each time, without making all of its bytes anew.
        let fresh = blob.len().min(32);
        random.fill_bytes(&mut blob[..fresh]);
        let digest = Digest::of(Algorithm::Sha256, &blob);
        let mut head = String::new();
        write!(
            head,
            "POST /v2/load/image-{number}/blobs/uploads/?digest={digest} HTTP/1.1\r\n\
             Host: {}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            arguments.address,
            blob.len()
        )?;
        request.clear();
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(&blob);
        let at = Instant::now();
        stream.write_all(&request).await?;
        answer(&mut stream).await?;
        if began.elapsed().as_secs_f64() >= arguments.warm_up {
            taken.push(at.elapsed());
        }
    }
    Ok(taken)
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
