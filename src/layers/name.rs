//! Names of a tar as text that can be shown, typed and put into a URL.

use std::fmt::Write;

/// The path that a name means within its layer: without `.`, without what would make it absolute. Dots that lead
/// upwards stay as they are, since nothing goes where a path leads. `None` for the root itself.
pub fn path(name: &[u8]) -> Option<String> {
    let parts = name.split(|byte| *byte == b'/');
    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
    let mut path = String::new();
    for part in parts {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&text(part));
    }
    (!path.is_empty()).then_some(path)
}

/// Bytes as text: `\x1b` for what is no character, or one that a reader does not see, and `\x5c` for the backslash
/// itself, so that no two names are the same text.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\x5c"),
                c if is_unseen(c) => escape(&mut text, c),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Text whose characters that a reader does not see are written out.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c if is_unseen(c) => escape(&mut shown, c),
            c => shown.push(c),
        }
    }
    shown
}

fn escape(text: &mut String, c: char) {
    let _ = match u32::from(c) {
        code @ 0..=0xff => write!(text, "\\x{code:02x}"),
        code => write!(text, "\\u{{{code:x}}}"),
    };
}

/// Controls, and what turns text round or has no width (Unicode, "Bidirectional Character Types", `Cf`).
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_that_leads_nowhere() {
        for (name, expected) in [
            (&b"./usr//bin/"[..], Some("usr/bin")),
            (b"/etc/passwd", Some("etc/passwd")),
            (b"../../etc/passwd", Some("../../etc/passwd")),
            (b"a/../b", Some("a/../b")),
            (b"./", None),
            (b"", None),
            (b"a\nb\x1b[31m", Some("a\\x0ab\\x1b[31m")),
            (b"a\\x0ab", Some("a\\x5cx0ab")),
            (b"\xff", Some("\\xff")),
            ("\u{202e}gpj.exe".as_bytes(), Some("\\u{202e}gpj.exe")),
            ("Ä".as_bytes(), Some("Ä")),
        ] {
            assert_eq!(path(name).as_deref(), expected, "{name:?}");
        }
    }
}
