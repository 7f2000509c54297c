//! Files of accounts: each line is an account, is named, or is no line; no hash costs a minute.
#![no_main]

use drift::auth::htpasswd::Htpasswd;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let read = Htpasswd::parse(text);
    let lines = text.lines().count();
    assert!(read.accounts.len() + read.refused.len() <= lines);
    for (line, _) in &read.refused {
        assert!((1..=lines).contains(line));
    }
    for (name, hash) in &read.accounts {
        assert!(text.contains(&format!("{name}:{hash}")));
        assert!(hash.starts_with("$2") || hash.starts_with("$argon2"));
        assert!(!hash.contains(['\n', '\r']));
    }
});
