//! Accounts in an `htpasswd` file: `name:hash` a line, with hashes of bcrypt or argon2.
//!
//! What it has no account for, nobody gets in by: a line that is not understood, whose hash is of a
//! kind that is broken by now or would cost a minute to verify, is left out, and named by its number.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::name::Name;

/// How often it is looked whether the file has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(400);

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The most that verifying a password may cost: bcrypt's cost, and argon2's memory in KiB and passes.
/// That is about a second.
const BCRYPT_COST_MAX: u32 = 14;
const ARGON2_KIB_MAX: u32 = 256 << 10;
const ARGON2_PASSES_MAX: u32 = 16;

/// The accounts of a file.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Htpasswd {
    /// The hash of each account's password.
    pub accounts: HashMap<Name, String>,
    /// The lines that are no accounts, counted from 1, and why. The line itself may be a password.
    pub refused: Vec<(usize, &'static str)>,
}

impl Htpasswd {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Self {
        let mut read = Htpasswd::default();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match account(line) {
                Ok((name, _)) if read.accounts.contains_key(&name) => {
                    read.refused.push((number, "the name has a line before"));
                }
                Ok((name, hash)) => drop(read.accounts.insert(name, hash.to_owned())),
                Err(reason) => read.refused.push((number, reason)),
            }
        }
        read
    }

    /// Reads a file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::metadata(path)?.len();
        if bytes > FILE_BYTES_MAX {
            let error = format!("it has {bytes} bytes, {FILE_BYTES_MAX} are the most");
            return Err(io::Error::other(error));
        }
        let read = Htpasswd::parse(&std::fs::read_to_string(path)?);
        for (line, reason) in &read.refused {
            tracing::warn!(file = %path.display(), line, "a line is left out: {reason}");
        }
        Ok(read)
    }
}

fn account(line: &str) -> Result<(Name, &str), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("there is no colon in it")?;
    let name = name
        .parse()
        .map_err(|_| "the name cannot be an account's")?;
    match hash {
        _ if hash.starts_with("$2") => bcrypt_cost(hash)
            .ok_or("the hash is none of bcrypt")
            .and_then(|cost| match cost <= BCRYPT_COST_MAX {
                true => Ok(()),
                false => Err("the hash costs too much: use a cost of at most 14"),
            })?,
        _ if hash.starts_with("$argon2") => check_argon2(hash)?,
        _ => return Err("the hash is of neither bcrypt nor argon2: use htpasswd -B"),
    }
    Ok((name, hash))
}

/// The cost in `$2y$10$...`, which is 60 characters.
fn bcrypt_cost(hash: &str) -> Option<u32> {
    let parts = hash.parse::<bcrypt::HashParts>().ok()?;
    Some(parts.get_cost())
}

fn check_argon2(hash: &str) -> Result<(), &'static str> {
    let hash = PasswordHash::new(hash).map_err(|_| "the hash is none of argon2")?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("the hash is none of argon2");
    }
    let params = argon2::Params::try_from(&hash).map_err(|_| "the hash is none of argon2")?;
    match params.m_cost() <= ARGON2_KIB_MAX && params.t_cost() <= ARGON2_PASSES_MAX {
        true => Ok(()),
        false => Err("the hash costs too much: use at most 256 MiB and 16 passes"),
    }
}

/// What tells a file from what it was before.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
    written: (i64, i64),
}

impl Seen {
    fn of(file: &Metadata) -> Self {
        Seen {
            inode: file.ino(),
            bytes: file.len(),
            changed: (file.ctime(), file.ctime_nsec()),
            written: (file.mtime(), file.mtime_nsec()),
        }
    }
}

impl Authority {
    /// Reads the file again whenever it has changed, until `stop` is cancelled. One that cannot be
    /// read has no accounts.
    pub async fn keep_htpasswd(&self, stop: CancellationToken) {
        let Some(path) = self.htpasswd_path() else {
            return;
        };
        let look = || std::fs::metadata(path).ok().as_ref().map(Seen::of);
        // Read once more at first: it may have changed since it was opened.
        let mut seen = None;
        loop {
            let now = look();
            if seen != Some(now) {
                seen = Some(now);
                let read = Htpasswd::read(path).unwrap_or_else(|error| {
                    tracing::error!(file = %path.display(), "its accounts are gone: {error}");
                    Htpasswd::default()
                });
                if let Err(error) = self.take_htpasswd(read) {
                    tracing::error!("the accounts of a file are not taken: {error}");
                    seen = None;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";

    fn argon2(parameters: &str) -> String {
        format!(
            "$argon2id$v=19${parameters}$c29tZXNhbHRzYWx0$qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo"
        )
    }

    #[test]
    fn lines_are_accounts_or_are_named() {
        let good = argon2("m=65536,t=3,p=4");
        let text = format!(
            "# comment\n\nalice:{BCRYPT}\r\nbob:{good}\nalice:{BCRYPT}\nno colon\n:{BCRYPT}\n\
             a b:{BCRYPT}\nc:plain\nd:{{SHA}}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\ne:$apr1$x$y\nf:$2y$05$short\n\
             g:{}\nh:{}\ni:{}\nj:$argon2id$v=19$m=65536,t=3,p=4\n",
            BCRYPT.replace("$05$", "$15$"),
            argon2("m=1048576,t=3,p=4"),
            argon2("m=65536,t=17,p=4"),
        );
        let read = Htpasswd::parse(&text);
        let mut names: Vec<_> = read.accounts.keys().map(Name::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["alice", "bob"]);
        let lines: Vec<_> = read.refused.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, (5..=16).collect::<Vec<_>>());
    }
}
