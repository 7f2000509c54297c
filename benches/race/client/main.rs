//! The client that measurements put load on a server with, whichever registry that is.
//!
//! ```sh
//! cargo run --release --example load -- --address 127.0.0.1:5000 --clients 16 --seconds 10 push --bytes 20000
//! ```
//!
//! Each client is a thread with a connection of its own (over HTTP/2 a stream of one that they share) which
//! does one piece of work after the other. Prints a line of JSON: how many pieces and bytes there were, and how
//! long they took. What it sends comes from one block in the processor's cache; what it gets is thrown away by
//! the kernel (in the clear) or in one buffer that is used again. Digests are found before the clock starts.

#![allow(missing_docs)]

mod connection;
mod content;
mod http1;
mod http2;
mod login;
mod work;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::connection::Connection;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::work::{Client, Plan, Work};

/// Put load on a registry
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    /// Where the server listens
    #[arg(long, global = true, default_value = "127.0.0.1:5000")]
    address: String,
    /// Speak TLS, and trust the certificates in this file; they have to be for localhost
    #[arg(long, global = true, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Speak HTTP/2, all clients over one connection
    #[arg(long, global = true, requires = "tls_ca")]
    http2: bool,
    /// Log in, by whatever way the server asks for
    #[arg(long, global = true, value_name = "NAME:PASSWORD")]
    user: Option<String>,
    /// How many work at the same time
    #[arg(long, global = true, default_value_t = 1)]
    clients: u64,
    /// How many pieces of work there are; without it and --seconds until standard input ends
    #[arg(long, global = true, conflicts_with = "seconds")]
    count: Option<u64>,
    /// For how long
    #[arg(long, global = true)]
    seconds: Option<f64>,
    /// What is done in this time at the beginning is not counted, in seconds
    #[arg(long, global = true, default_value_t = 0.0)]
    warm_up: f64,
    /// What content is made from: the same seed, the same bytes
    #[arg(long, global = true, default_value_t = 0)]
    seed: u64,
    /// The repository
    #[arg(long, global = true, default_value = "race/content")]
    repository: String,
    /// Hold every body against its digest, or look into it; that takes time of its own
    #[arg(long, global = true)]
    verify: bool,
    #[command(subcommand)]
    work: Work,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let plan = Plan::new(&arguments);
    if let Work::Write { to, .. } = &arguments.work {
        return plan.write(to);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut clients = connect(&arguments, &plan, runtime.handle())?;
    let stop = AtomicBool::new(false);
    let (next, barrier) = (AtomicU64::new(0), Barrier::new(clients.len() + 1));
    let (began, taken) = std::thread::scope(|scope| {
        let workers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(|| {
                    barrier.wait();
                    let began = Instant::now();
                    let done = work(&arguments, &plan, client, &next, &stop);
                    // One that has failed ends the others as well.
                    stop.fetch_or(done.is_err(), Ordering::Relaxed);
                    done.map(|done| (began, done))
                })
            })
            .collect();
        barrier.wait();
        match (arguments.count, arguments.seconds) {
            (Some(_), _) => {}
            (None, Some(seconds)) => {
                std::thread::sleep(Duration::from_secs_f64(seconds));
                stop.store(true, Ordering::Relaxed);
            }
            (None, None) => {
                std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
                stop.store(true, Ordering::Relaxed);
            }
        }
        // The first client's beginning: this thread may run only when they have done it all.
        let (mut first, mut taken) = (None, Vec::new());
        for worker in workers {
            let (began, done) = worker.join().expect("a client does not panic")?;
            first = Some(first.map_or(began, |first: Instant| first.min(began)));
            taken.extend(done);
        }
        anyhow::Ok((first.context("there was no client")?, taken))
    })?;
    report(began, &taken, arguments.warm_up)
}

/// One piece of work that was done.
struct Done {
    at: Instant,
    bytes: u64,
    took: Duration,
}

fn work(
    arguments: &Arguments,
    plan: &Plan,
    client: &mut Client,
    next: &AtomicU64,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Done>> {
    let mut done = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if arguments.count.is_some_and(|count| number >= count) {
            break;
        }
        let (bytes, took) = plan.step(client, number)?;
        done.push(Done {
            at: Instant::now(),
            bytes,
            took,
        });
    }
    Ok(done)
}

fn report(began: Instant, done: &[Done], warm_up: f64) -> anyhow::Result<()> {
    let from = began + Duration::from_secs_f64(warm_up);
    let counted: Vec<&Done> = done.iter().filter(|done| done.at >= from).collect();
    let end = counted
        .iter()
        .map(|done| done.at)
        .max()
        .context("not a single piece of work was done")?;
    let mut took: Vec<Duration> = counted.iter().map(|done| done.took).collect();
    took.sort_unstable();
    let of_1000 = |part: usize| took[(took.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    println!(
        r#"{{"requests": {}, "bytes": {}, "seconds": {:.6}, "p50_ms": {:.3}, "p99_ms": {:.3}, "p999_ms": {:.3}, "longest_ms": {:.3}}}"#,
        took.len(),
        counted.iter().map(|done| done.bytes).sum::<u64>(),
        (end - from).as_secs_f64(),
        of_1000(500),
        of_1000(990),
        of_1000(999),
        of_1000(1000)
    );
    Ok(())
}

/// All clients, connected and logged in.
fn connect(
    arguments: &Arguments,
    plan: &Plan,
    runtime: &tokio::runtime::Handle,
) -> anyhow::Result<Vec<Client>> {
    ensure!(
        arguments.clients > 0,
        "--clients is 0: at least one is needed"
    );
    let tls = arguments.tls_ca.as_deref().map(|file| {
        let mut roots = RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(file).with_context(|| file.display().to_string())?
        {
            roots.add(certificate?)?;
        }
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![if arguments.http2 {
            b"h2".to_vec()
        } else {
            b"http/1.1".to_vec()
        }];
        anyhow::Ok(Arc::new(config))
    });
    let tls = tls.transpose()?;
    let shared = match (&tls, arguments.http2) {
        (Some(tls), true) => Some(Http2::connect(&arguments.address, tls.clone(), runtime)?),
        _ => None,
    };
    let connect = || match &shared {
        Some(shared) => anyhow::Ok(Connection::Http2(shared.clone())),
        None => Ok(Connection::Http1(Box::new(Http1::connect(
            &arguments.address,
            tls.clone(),
        )?))),
    };
    let authorization = match &arguments.user {
        Some(user) => Some(login::authorize(
            &mut connect()?,
            user,
            &plan.repositories(),
        )?),
        None => None,
    };
    (0..arguments.clients)
        .map(|_| Ok(Client::new(connect()?, authorization.clone())))
        .collect()
}
