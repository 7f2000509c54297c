//! Where in a table a text lies in whose order its digests are listed: `sha256:0a...`, or with a slash for
//! the colon. Keys hold a digest as its algorithm's code and raw bytes, whose order is that of the texts.

use crate::digest::Algorithm;

/// What keys lie behind that begin with a digest whose text is `text` or more; `None` if there can be none.
/// A few digests less than that may lie behind it too.
pub fn digests_from(text: &[u8], separator: char) -> Option<Vec<u8>> {
    let mut algorithms = [Algorithm::Sha256, Algorithm::Sha512];
    algorithms.sort_by_key(|it| it.code());
    for algorithm in algorithms {
        let name = format!("{algorithm}{separator}");
        let Some(digits) = text.strip_prefix(name.as_bytes()) else {
            if text < name.as_bytes() {
                return Some(vec![algorithm.code()]);
            }
            continue;
        };
        let digits = &digits[..digits.len().min(2 * algorithm.digest_bytes())];
        if let Some(raw) = raw_from(digits) {
            // One byte less of a whole digest, which itself is to lie behind.
            let raw = &raw[..raw.len().min(algorithm.digest_bytes() - 1)];
            return Some([&[algorithm.code()], raw].concat());
        }
    }
    None
}

/// The least raw bytes whose hex digits are `digits` or more, as far as they are determined.
fn raw_from(digits: &[u8]) -> Option<Vec<u8>> {
    let mut nibbles: Vec<u8> = Vec::new();
    for digit in digits {
        match digit {
            b'0'..=b'9' => nibbles.push(digit - b'0'),
            b'a'..=b'f' => nibbles.push(digit - b'a' + 10),
            // Whatever has these digits goes on with a greater one.
            ..b'0' => break,
            // It goes on with a letter at least.
            b':'..b'a' => {
                nibbles.push(10);
                break;
            }
            // It goes on with a lesser one: only greater digits will do.
            _ => {
                loop {
                    let last = nibbles.pop()?;
                    if last < 15 {
                        nibbles.push(last + 1);
                        break;
                    }
                }
                break;
            }
        }
    }
    let pairs = nibbles.chunks(2);
    Some(
        pairs
            .map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::ghostbay::catalog::KeyWriter;

    fn key(digest: &Digest) -> Vec<u8> {
        let mut out = KeyWriter::new();
        out.digest(digest);
        out.into_bytes()
    }

    #[test]
    fn a_seek_finds_whatever_is_not_less_and_little_else() {
        let mut digests: Vec<Digest> = (0..400u32)
            .flat_map(|number| {
                let content = number.to_be_bytes();
                [Algorithm::Sha256, Algorithm::Sha512].map(|it| Digest::of(it, &content))
            })
            .collect();
        digests.sort_by_key(Digest::to_string);
        let by_key = digests.windows(2).all(|pair| key(&pair[0]) < key(&pair[1]));
        assert!(by_key, "keys are in the order of texts");
        let mut texts: Vec<Vec<u8>> = [
            "", "a", "sha", "sha256", "sha256:", "sha384:", "sha512:", "shb", "z",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec();
        for digest in digests.iter().step_by(37) {
            let text = digest.to_string().into_bytes();
            for length in [8, 9, 10, 11, 20, text.len() - 1, text.len()] {
                for further in [
                    &b""[..],
                    b"\x00",
                    b"/",
                    b":",
                    b"A",
                    b"g",
                    b"\xff",
                    b"0",
                    b"f",
                ] {
                    texts.push([&text[..length], further].concat());
                }
            }
        }
        for text in texts {
            let behind: Vec<_> = match digests_from(&text, ':') {
                None => Vec::new(),
                Some(from) => digests.iter().filter(|it| key(it) > from).collect(),
            };
            let wanted: Vec<_> = digests
                .iter()
                .filter(|it| it.to_string().as_bytes() >= text.as_slice())
                .collect();
            let text = text.escape_ascii();
            assert!(behind.ends_with(&wanted), "{text}");
            assert!(behind.len() <= wanted.len() + 1, "{text}");
        }
    }
}
