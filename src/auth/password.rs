//! Passwords: hashed by argon2id, and verified by few threads of low priority.
//!
//! Verifying one costs 19 MiB and tens of milliseconds of a processor, on purpose. So that whoever
//! sends a thousand of them takes nothing from those who pull, it is done by threads of their own, at
//! most one for every two processors, which step back before those that serve; and so many may wait
//! for their turn, and no more.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::oneshot;

/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Shortest password that an account can get, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// What bcrypt sees of a password, in bytes.
const BCRYPT_BYTES_MAX: usize = 72;

/// Logins that wait for their turn.
const WAITING_MAX: usize = 256;

/// How far the threads step back (`nice(2)`): a login still comes through on a busy server.
const NICENESS: i32 = 10;

/// A password that no account can have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PasswordError {
    /// It is too short.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters, and this one {0}")]
    Short(usize),
    /// It is too long.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes, and this one {0}")]
    Long(usize),
    /// Hashing failed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

/// The hash of a new password, as a PHC string. Takes tens of milliseconds.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::Long(password.len()));
    }
    match password.chars().count() {
        characters if characters < PASSWORD_CHARS_MIN => Err(PasswordError::Short(characters)),
        _ => Argon2::default()
            .hash_password(password.as_bytes())
            .map(|hash| hash.to_string())
            .map_err(|error| PasswordError::Hash(error.to_string())),
    }
}

fn fits(password: &str, hash: &str) -> bool {
    if hash.starts_with("$2") {
        // bcrypt sees 72 bytes, and those as a ring that a NUL closes: what is longer, or has one in it,
        // would be the same as another password.
        let is_whole = password.len() <= BCRYPT_BYTES_MAX && !password.contains('\0');
        return is_whole && bcrypt::verify(password, hash).unwrap_or(false);
    }
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// Too many logins wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many logins wait")]
pub struct Busy;

struct Job {
    password: String,
    hash: String,
    answer: oneshot::Sender<bool>,
}

/// The threads that verify.
pub struct Verifier {
    queue: SyncSender<Job>,
    /// What a password is held against where there is no account, so that it takes as long.
    pub nobody: String,
}

impl Verifier {
    /// Starts the threads.
    pub fn start() -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(WAITING_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..(processors / 2).max(1) {
            let jobs = jobs.clone();
            std::thread::Builder::new()
                .name("password".into())
                .spawn(move || run(&jobs))?;
        }
        let nobody = hash("nobody has this").map_err(std::io::Error::other)?;
        Ok(Verifier { queue, nobody })
    }

    /// Whether the password is that of the hash. A password that nobody can have is not, at once.
    pub async fn verify(&self, password: &str, hash: &str) -> Result<bool, Busy> {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let (answer, verified) = oneshot::channel();
        let job = Job {
            password: password.to_owned(),
            hash: hash.to_owned(),
            answer,
        };
        self.queue.try_send(job).map_err(|_| Busy)?;
        verified.await.map_err(|_| Busy)
    }
}

fn run(jobs: &Mutex<Receiver<Job>>) {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread's priority stays as it was");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Whoever has gone away needs no answer.
        if !job.answer.is_closed() {
            let _ = job.answer.send(fits(&job.password, &job.hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_fits() {
        let verifier = Verifier::start().unwrap();
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(verifier.verify("correct horse", &hash).await.unwrap());
        for wrong in [
            "",
            "correct hors",
            "correct horse ",
            "CORRECT HORSE",
            "päßwörd\0",
        ] {
            assert!(!verifier.verify(wrong, &hash).await.unwrap());
        }
        assert!(!verifier.verify("correct horse", "").await.unwrap());
        let short = "x".repeat(72);
        let hash = bcrypt::hash(&short, 4).unwrap();
        assert!(verifier.verify(&short, &hash).await.unwrap());
        let ring = bcrypt::hash("abc", 4).unwrap();
        assert!(verifier.verify("abc", &ring).await.unwrap());
        assert!(!verifier.verify("abc\0abc", &ring).await.unwrap());
        for wrong in [
            "y".to_owned(),
            short.clone() + "x",
            short.clone() + "\0",
            "\0".to_owned(),
        ] {
            assert!(!verifier.verify(&wrong, &hash).await.unwrap());
        }
    }

    #[test]
    fn passwords_have_their_bounds() {
        assert_eq!(hash("1234567"), Err(PasswordError::Short(7)));
        assert!(hash("ßßßßßßßß").is_ok(), "characters, not bytes");
        assert_eq!(hash(&"x".repeat(1025)), Err(PasswordError::Long(1025)));
    }

    #[tokio::test]
    async fn more_logins_than_can_wait_are_turned_away() {
        let verifier = Arc::new(Verifier::start().unwrap());
        let logins: Vec<_> = (0..2 * WAITING_MAX)
            .map(|_| {
                let verifier = verifier.clone();
                tokio::spawn(
                    async move { verifier.verify("wrong password", &verifier.nobody).await },
                )
            })
            .collect();
        let mut turned_away = 0;
        for login in logins {
            turned_away += usize::from(login.await.unwrap().is_err());
        }
        assert!(
            turned_away > 0 && turned_away < 2 * WAITING_MAX,
            "{turned_away}"
        );
    }
}
