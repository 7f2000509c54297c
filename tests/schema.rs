//! The documents of what lies on disk, held against the code.

use std::fmt::Write;
use std::path::Path;

use drift::ghostbay::catalog::{TableInfo, change_log, codec};
use drift::ghostbay::{local, pack};

/// All tables, by id.
fn tables() -> Vec<TableInfo> {
    let mut tables = drift::ghostbay::TABLES.to_vec();
    tables.extend(drift::registry::tables::TABLES);
    tables.extend(drift::auth::tables::TABLES);
    tables.extend(drift::audit::table::TABLES);
    tables.sort_by_key(|table| table.id);
    tables
}

fn page() -> String {
    let mut page = String::from(
        "The tables of the index, written by tests/schema.rs. A key begins with its table's id;\n\
         a value with its row's version, and a CRC-32C over both closes it. Key fields: text ends with NUL,\n\
         any text with two, and a NUL within it is followed by 1; numbers are big-endian, a\n\
         digest is its algorithm's code (1 sha256, 2 sha512) and its raw value. Value fields: as\n\
         bincode 2 writes them in its standard configuration.\n",
    );
    for table in tables() {
        writeln!(page, "\n0x{:02x} {}", table.id, table.name).unwrap();
        writeln!(page, "  key    {}", table.key).unwrap();
        writeln!(page, "  value  v{}: {}", table.version, table.value).unwrap();
    }
    page
}

#[test]
fn the_schema_page_is_that_of_the_code() {
    let newest = drift::migrations::STEPS.last().unwrap();
    let directory = format!("migrations/v{:04}_{}", newest.version, newest.name);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(directory)
        .join("schema.txt");
    if std::env::var_os("DRIFT_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap_or_default(),
        page(),
        "the tables have changed: a released schema needs a new migration; before a release, \
         DRIFT_WRITE_SCHEMA=1 cargo test --test schema writes the page"
    );
}

#[test]
fn table_ids_and_names_are_unique() {
    let tables = tables();
    for pair in tables.windows(2) {
        assert!(pair[0].id < pair[1].id, "id {:#04x} twice", pair[1].id);
    }
    let names: std::collections::BTreeSet<_> = tables.iter().map(|table| table.name).collect();
    assert_eq!(names.len(), tables.len());
}

#[test]
fn every_number_in_the_format_document_is_that_of_the_code() {
    let document = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ghostbay/FORMAT.md"),
    )
    .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let facts = [
        ("pack magic", text(&pack::file::PACK_MAGIC)),
        ("pack version", pack::file::PACK_VERSION.to_string()),
        ("pack header", pack::file::PACK_HEADER_BYTES.to_string()),
        ("pack suffix", pack::file::PACK_SUFFIX.to_owned()),
        ("record magic", text(&pack::record::HEADER_MAGIC)),
        ("record header", pack::record::HEADER_BYTES.to_string()),
        ("record alignment", pack::record::RECORD_ALIGN.to_string()),
        ("trailer magic", text(&pack::record::TRAILER_MAGIC)),
        ("trailer", pack::record::TRAILER_FIXED_BYTES.to_string()),
        ("window", pack::record::WINDOW_BYTES.to_string()),
        ("block", pack::record::BLOCK_BYTES.to_string()),
        (
            "block-aligned from",
            pack::record::BLOCK_ALIGNED_FROM_BYTES.to_string(),
        ),
        (
            "record body at most",
            pack::writer::RECORD_BODY_BYTES_MAX.to_string(),
        ),
        (
            "small body at most",
            pack::small::SMALL_BODY_BYTES_MAX.to_string(),
        ),
        ("log magic", text(&change_log::file::LOG_MAGIC)),
        ("log version", change_log::file::LOG_VERSION.to_string()),
        ("log header", change_log::file::LOG_HEADER_BYTES.to_string()),
        (
            "frame header",
            change_log::frame::FRAME_HEADER_BYTES.to_string(),
        ),
        (
            "changes suffix",
            change_log::file::CHANGES_SUFFIX.to_owned(),
        ),
        (
            "checkpoint suffix",
            change_log::file::CHECKPOINT_SUFFIX.to_owned(),
        ),
        ("row at most", codec::ROW_BYTES_MAX.to_string()),
        ("index", local::INDEX_FILE.to_owned()),
        ("packs", local::PACKS_DIRECTORY.to_owned()),
        ("log", local::LOG_DIRECTORY.to_owned()),
        ("lock", drift::ghostbay::LOCK_FILE.to_owned()),
        (
            "admin socket",
            drift::ghostbay::admin::ADMIN_SOCKET.to_owned(),
        ),
    ];
    for (name, value) in facts {
        let row = format!("| {name} | `{value}` |");
        assert!(document.contains(&row), "FORMAT.md lacks the row {row}");
    }
}
