//! Threads for work that nobody waits for with a request: backups, checkpoints, checks.
//!
//! They have the lowest priority, so that they take what the threads that serve leave over. A
//! thread cannot get its priority back, which is why none of a pool may be used.

use std::io;
use std::thread::JoinHandle;

/// The weakest claim to a processor that there is (`nice(2)`).
const NICENESS: i32 = 19;

/// Lets everybody else go first, from now on: the calling thread, and those that it starts.
pub fn yield_to_others() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread's priority stays as it was");
    }
}

/// Starts a thread of that name for such work.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let thread = std::thread::Builder::new().name(name.into());
    thread.spawn(move || {
        yield_to_others();
        work()
    })
}

/// As [`spawn`], for a caller that waits for the result. A panic in the work is an error.
pub async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, result) = tokio::sync::oneshot::channel();
    spawn(name, move || {
        // Nobody may wait any more.
        let _ = sender.send(work());
    })?;
    let gone = |_| io::Error::other(format!("the thread {name} has panicked"));
    result.await.map_err(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn only_the_thread_that_does_the_work_steps_back() {
        let before = niceness();
        assert_eq!(run("test", niceness).await.unwrap(), NICENESS);
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        assert!(run("test", || panic!("on purpose")).await.is_err());
    }
}
