//! Repository names, tags, digests and references: every kind is tried on the same text.
#![no_main]

use drift::digest::Digest;
use drift::oci::{Reference, RepositoryName, Tag};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 255);
        // Nothing that could climb out of a directory, end a key or hide in a path.
        assert!(
            text.split('/')
                .all(|part| !part.is_empty() && !part.contains(".."))
        );
        assert!(text.bytes().all(|byte| matches!(
            byte,
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/'
        )));
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        assert!(text.len() <= 128 && !text.starts_with(['.', '-']));
        assert!(
            text.bytes()
                .all(|byte| { byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') })
        );
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(
            Digest::from_raw(digest.algorithm(), digest.raw()),
            Some(digest)
        );
    }
    match text.parse::<Reference>() {
        Ok(reference) => assert_eq!(reference.to_string(), text),
        Err(error) => {
            assert!(text.parse::<Tag>().is_err() && text.parse::<Digest>().is_err());
            assert!(error.to_string().len() < 1024);
        }
    }
});
