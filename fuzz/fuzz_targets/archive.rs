//! Tars of imports: passed over or read to their ends, the same entries come, and their content lies where they say.
#![no_main]

use std::io::{self, Cursor, Read};

use drift::tar::{Entry, TarReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let passed_over = entries(data, |_, _| {});
    let mut whole = 0;
    let read = entries(data, |reader, entry| {
        let mut content = Vec::new();
        let mut piece = [0; 700];
        loop {
            match reader.read(entry, &mut piece) {
                Ok(0) => break whole += 1,
                Ok(read) => content.extend_from_slice(&piece[..read]),
                Err(_) => break,
            }
        }
        let from = entry.offset as usize;
        assert_eq!(data.get(from..from + content.len()), Some(&content[..]));
    });
    // An import of a file knows its entries by the first way, one by a pipe by the second.
    assert_eq!(passed_over.len(), read.len());
    for (one, other) in passed_over.iter().zip(&read) {
        assert_eq!(
            (&one.name, &one.link, one.offset),
            (&other.name, &other.link, other.offset)
        );
        assert_eq!((one.kind, one.length), (other.kind, other.length));
    }
    for (entry, next) in read.iter().zip(read.iter().skip(1)) {
        assert!(entry.offset % 512 == 0 && next.offset >= entry.offset + entry.length + 512);
    }
    // All but the last have to be there whole.
    assert!(whole + 1 >= read.len());
});

/// The entries that come until the tar ends or cannot be read any further.
fn entries(data: &[u8], mut see: impl FnMut(&mut TarReader<Cursor<&[u8]>>, &Entry)) -> Vec<Entry> {
    let mut reader = TarReader::new(Cursor::new(data));
    let mut found = Vec::new();
    while let Ok(Some(entry)) = reader.next(pass_over) {
        see(&mut reader, &entry);
        found.push(entry);
    }
    found
}

fn pass_over(input: &mut Cursor<&[u8]>, bytes: u64) -> io::Result<()> {
    let passed = io::copy(&mut input.take(bytes), &mut io::sink())?;
    match passed < bytes {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(()),
    }
}
