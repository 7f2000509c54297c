//! `Range` and `Content-Range` headers. The first eight bytes are the size of the blob.
#![no_main]

use drift::oci::ContentRange;
use drift::range::ByteRange;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((size, header)) = data.split_first_chunk() else {
        return;
    };
    let size = u64::from_le_bytes(*size);
    let Ok(header) = std::str::from_utf8(header) else {
        return;
    };
    if let Ok(Some(range)) = ByteRange::parse_header(header) {
        for size in [size, 0, 1, u64::MAX] {
            let Some(resolved) = range.resolve(size) else {
                continue;
            };
            assert!(resolved.start < resolved.end && resolved.end <= size);
            match range {
                ByteRange::FromTo { first, last } => {
                    assert!(resolved.start == first && resolved.end - 1 <= last);
                }
                ByteRange::From { first } => {
                    assert!(resolved.start == first && resolved.end == size);
                }
                ByteRange::Suffix { length } => {
                    assert!(resolved.end == size && resolved.end - resolved.start <= length);
                }
            }
        }
    }
    if let Ok(range) = ContentRange::parse_header(header) {
        assert!(range.start <= range.end && range.end < 1 << 63);
        assert_eq!(range.length(), range.end - range.start + 1);
        let written = format!("{}-{}", range.start, range.end);
        assert_eq!(ContentRange::parse_header(&written), Ok(range));
    }
});
