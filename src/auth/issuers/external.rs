//! Somebody whom an issuer vouches for.

use std::fmt::{self, Write};

use aws_lc_rs::digest;

use crate::auth::name::Name;

/// Longest subject that is kept as it is, in characters.
const SUBJECT_MAX: usize = 200;

/// Somebody whom an issuer vouches for, and the roles that are given for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct External {
    /// The issuer's URL.
    pub issuer: String,
    /// Who they are there, fit for a log.
    pub subject: String,
    /// Their roles.
    pub roles: Vec<Name>,
    /// The stamps of the trusts that give them, one each.
    pub stamps: Vec<u64>,
    /// When the issuer's word ends, in seconds since 1970.
    pub expires: u64,
}

impl External {
    /// The stamps as text.
    pub fn stamp(&self) -> String {
        let stamps: Vec<_> = self.stamps.iter().map(|it| format!("{it:016x}")).collect();
        stamps.join(",")
    }
}

/// `oidc:https://issuer.example.com#repo:acme/app:ref:refs/heads/main (role ci)`: no issuer has a `#` in
/// its URL, and no subject a space, so that nobody is taken for somebody else.
impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oidc:{}#{} (role ", self.issuer, self.subject)?;
        for (number, role) in self.roles.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            role.fmt(f)?;
        }
        f.write_str(")")
    }
}

/// A subject as logs and histories have it: without what could be read as something else, and not too
/// long. Of one that is cut a hash stands for the rest, since two that differ there are two.
pub fn subject(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character {
            character if character.is_ascii_graphic() && character != '\\' => shown.push(character),
            character => shown.extend(character.escape_unicode()),
        }
    }
    if shown.len() > SUBJECT_MAX {
        shown.truncate(SUBJECT_MAX);
        shown.push('~');
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        for byte in &hash.as_ref()[..16] {
            // Writing to text cannot fail.
            let _ = write!(shown, "{byte:02x}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_shown_whole_or_with_a_hash_and_never_as_another() {
        let plain = "repo:acme/app:ref:refs/heads/main";
        assert_eq!(subject(plain), plain);
        assert_eq!(
            subject("a b\n\u{202e}ä\\"),
            r"a\u{20}b\u{a}\u{202e}\u{e4}\u{5c}"
        );
        let [one, other] = ["x", "y"].map(|end| subject(&format!("{}{end}", "a".repeat(5000))));
        assert!(one.len() < 240 && one.starts_with("aaa") && one != other);
    }
}
