//! Keys, rows and log frames of the catalog, as a damaged or foreign file might hold them. The
//! first byte chooses what the rest is read as.
#![no_main]

use drift::digest::{Algorithm, Hasher};
use drift::ghostbay::catalog::change_log::frame;
use drift::ghostbay::catalog::codec::{self, Value};
use drift::ghostbay::catalog::{Key, KeyReader, KeyWriter, Table, schema};
use drift::ghostbay::pack::accounts;
use drift::ghostbay::{multipart, objects, uploads};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    match selector % 12 {
        0 => table(&schema::META, bytes),
        1 => table(&accounts::PACKS, bytes),
        2 => table(&accounts::SHARED_EXTENTS, bytes),
        3 => table(&objects::BUCKETS, bytes),
        4 => table(&objects::OBJECTS, bytes),
        5 => table(&uploads::UPLOADS, bytes),
        6 => table(&uploads::FINISHED, bytes),
        7 => table(&uploads::FINISHED_BY_TIME, bytes),
        8 => table(&multipart::MULTIPART, bytes),
        9 => table(&multipart::PARTS, bytes),
        10 => log_frame(bytes),
        _ => running_hash(bytes),
    }
});

/// Reads the bytes as a key and as a row of the table.
fn table<K: Key, V: Value>(_: &Table<K, V>, bytes: &[u8]) {
    let mut reader = KeyReader::new(bytes);
    if let Some(key) = K::decode(&mut reader)
        && reader.is_empty()
    {
        // The order of keys is that of their bytes, so a key has one spelling only.
        let mut writer = KeyWriter::new();
        key.encode(&mut writer);
        assert_eq!(writer.as_bytes(), bytes);
    }
    if let Ok(row) = codec::decode::<V>(bytes) {
        // A number has several encodings of which one is written.
        let written = codec::encode(&row).expect("it was a row");
        let again: V = codec::decode(&written).expect("it was written as a row");
        assert_eq!(codec::encode(&again).as_ref(), Ok(&written));
    }
}

fn log_frame(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    // Length and checksum are made right: what lies behind them is what is tried.
    if bytes.len() < frame::FRAME_HEADER_BYTES {
        return;
    }
    let (header, payload) = bytes.split_at_mut(frame::FRAME_HEADER_BYTES);
    header[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&7u32.to_le_bytes()), &header[..4]);
    let crc = crc32c::crc32c_append(crc, payload);
    header[4..].copy_from_slice(&crc.to_le_bytes());
    let header: &[u8; frame::FRAME_HEADER_BYTES] = (&*header).try_into().expect("eight bytes");

    let mut chain = 7;
    let Ok(read) = frame::decode(&mut chain, header, payload) else {
        return;
    };
    assert_eq!(chain, crc);
    let rows = read.changes.iter();
    let rows = rows.map(|(key, value)| (key.as_slice(), value.as_deref()));
    let mut written = Vec::new();
    frame::FrameWriter::new(7).frame(read.sequence, read.time_ms, rows, read.end, &mut written);
    let (header, payload) = written.split_first_chunk().expect("a frame has a header");
    let mut chain = 7;
    assert_eq!(frame::decode(&mut chain, header, payload), Ok(read));
}

fn running_hash(bytes: &[u8]) {
    if let Some(hasher) = Hasher::restore(bytes) {
        assert_eq!(hasher.save(), bytes);
        let mut longer = hasher.clone();
        longer.update(&[0; 200]);
        let _ = (hasher.finish(), longer.finish());
    }
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        let restored = Hasher::restore(&hasher.save()).expect("it was saved");
        assert_eq!(restored.finish(), hasher.finish());
    }
}
