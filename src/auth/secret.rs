//! Random secrets, and numbers that nobody can guess.

use aws_lc_rs::rand;

/// What passwords are written in: no `l` for a 1, no `o` for a 0.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The system has no random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// Random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A random number.
pub fn number() -> Result<u64, NoRandomness> {
    bytes().map(u64::from_le_bytes)
}

/// A random password of `N` characters, of 5 bits each.
pub fn password<const N: usize>() -> Result<String, NoRandomness> {
    let random = bytes::<N>()?;
    let characters = random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    Ok(characters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_comes_twice() {
        let first = password::<24>().unwrap();
        assert_eq!(first.len(), 24);
        assert_ne!(first, password::<24>().unwrap());
        assert_ne!(number().unwrap(), number().unwrap());
    }
}
