//! The signals that stop the server.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Takes hold of SIGTERM and SIGINT; the future is done when the first of either arrives.
///
/// A second one ends the process at once, for an operator who will not wait for transfers.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!("{name}: stopping");
        tokio::spawn(async move {
            let name = either(&mut terminate, &mut interrupt).await;
            tracing::warn!("{name} again: stopping at once");
            // The store is made to survive this at any moment.
            std::process::exit(1);
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
