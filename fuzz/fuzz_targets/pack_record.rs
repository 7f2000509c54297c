//! Header and trailer of a pack record. The first byte chooses which, and whether the checksum
//! is made right first: a fuzzer seldom guesses one, and a client can compute it.
#![no_main]

use drift::ghostbay::pack::record::{self, Header, Trailer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    let is_sealed = selector & 2 != 0;
    if selector & 1 == 0 {
        header(&mut bytes, is_sealed);
    } else {
        trailer(&mut bytes, is_sealed);
    }
});

fn header(bytes: &mut [u8], seal: bool) {
    if seal && bytes.len() >= 64 {
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    }
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
}

fn trailer(bytes: &mut [u8], seal: bool) {
    // The length of the body comes from elsewhere; here it follows the count that is claimed.
    let Some(count) = bytes.get(4..8) else {
        return;
    };
    let count = u32::from_le_bytes(count.try_into().expect("four bytes"));
    let length = u64::from(count) * record::WINDOW_BYTES;
    if seal && bytes.len() >= 16 {
        bytes[12..16].fill(0);
        let digest_bytes = match bytes[8] {
            1 => 32,
            2 => 64,
            _ => 0,
        };
        let end = (16 + 4 * u64::from(count) + digest_bytes).min(bytes.len() as u64) as usize;
        let crc = crc32c::crc32c(&bytes[..end]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    if let Ok(trailer) = Trailer::decode(bytes, length) {
        assert_eq!(trailer.windows.len() as u64, u64::from(count));
        assert!(trailer.encoded_bytes() <= record::trailer_bytes_max(length));
        assert_eq!(Trailer::decode(&trailer.encode(), length), Ok(trailer));
    }
    assert!(Trailer::decode(bytes, length.saturating_add(1)).is_err());
}
