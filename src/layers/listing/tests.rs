use std::io::Write;

use ::tar::{Builder, EntryType, Header};

use super::*;

fn header(name: &[u8], length: u64, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_size(length);
    header.set_mode(0o4755);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(9);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

fn block(header: &Header, content: &[u8]) -> Vec<u8> {
    let mut block = header.as_bytes().to_vec();
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn file(name: &[u8], content: &[u8]) -> Vec<u8> {
    block(
        &header(name, content.len() as u64, EntryType::Regular),
        content,
    )
}

fn link(name: &[u8], to: &[u8], kind: EntryType) -> Vec<u8> {
    let mut header = header(name, 0, kind);
    header.as_old_mut().linkname[..to.len()].copy_from_slice(to);
    header.set_cksum();
    block(&header, &[])
}

fn read(packed: &[u8]) -> Listing {
    Listing::read(packed, &Bounds::new(|| false))
}

fn paths(listing: &Listing) -> Vec<&str> {
    let entries = listing.entries().iter();
    entries.map(|entry| listing.path(entry)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_layer_is_listed_however_it_is_packed() {
    let tar = [file(b"b", b"two"), file(b"./a", b"one"), vec![0; 1024]].concat();
    for packed in [
        tar.clone(),
        gzip(&tar),
        zstd::encode_all(tar.as_slice(), 3).unwrap(),
    ] {
        let listing = read(&packed);
        assert_eq!((paths(&listing), &listing.cut), (vec!["a", "b"], &None));
        let entry = listing.entries()[1];
        assert_eq!(
            (
                entry.size,
                entry.mode,
                entry.uid,
                entry.gid,
                entry.modified_s
            ),
            (3, 0o4755, 7, 8, 9)
        );
        let bounds = Bounds::new(|| false);
        let mut content = Vec::new();
        let mut opened =
            crate::layers::content::open(packed.as_slice(), entry.offset, entry.size, &bounds)
                .unwrap();
        opened.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"two");
    }
}

#[test]
fn hostile_names_and_links_are_text() {
    let tar = [
        file(b"../../etc/passwd", b""),
        file(b"/etc/shadow", b""),
        file(b"a\nb\xff", b""),
        link(b"out", b"../../../etc/passwd", EntryType::Symlink),
        link(b"twin", b"/etc/passwd", EntryType::Link),
        block(&header(b"dev/sda", 1 << 40, EntryType::Block), &[]),
        file(b"behind", b"x"),
        vec![0; 1024],
    ]
    .concat();
    let listing = read(&tar);
    assert_eq!(listing.cut, None);
    assert_eq!(
        paths(&listing),
        [
            "../../etc/passwd",
            "a\\x0ab\\xff",
            "behind",
            "dev/sda",
            "etc/shadow",
            "out",
            "twin"
        ]
    );
    let links: Vec<_> = listing
        .entries()
        .iter()
        .map(|it| listing.link(it))
        .collect();
    assert_eq!(links[5..], ["../../../etc/passwd", "/etc/passwd"]);
}

#[test]
fn long_names_and_those_of_pax_are_read_and_names_beyond_the_limit_left_out() {
    let mut tar = Builder::new(Vec::new());
    let long = "d/".repeat(200) + "file";
    let mut header = Header::new_gnu();
    header.set_size(0);
    tar.append_data(&mut header, &long, std::io::empty())
        .unwrap();
    tar.append_data(&mut header, "x/".repeat(3000), std::io::empty())
        .unwrap();
    let pax = b"18 path=from/pax\n\x00";
    tar.get_mut().extend(block(
        &self::header(b"pax", 17, EntryType::XHeader),
        &pax[..17],
    ));
    tar.get_mut().extend(file(b"short", b""));
    let listing = read(&tar.into_inner().unwrap());
    assert_eq!(listing.left_out, 1);
    assert!(paths(&listing).contains(&long.as_str()), "{listing:?}");
}

#[test]
fn files_with_holes_do_not_shift_what_follows() {
    let mut sparse = header(b"sparse", 512, EntryType::GNUSparse);
    sparse.as_gnu_mut().unwrap().isextended[0] = 1;
    sparse.as_gnu_mut().unwrap().realsize = *b"00001000000\0";
    sparse.set_cksum();
    let mut tar = sparse.as_bytes().to_vec();
    let mut map = [0; 512];
    map[504] = 1;
    tar.extend(map);
    map[504] = 0;
    tar.extend(map);
    tar.extend([b'x'; 512]);
    tar.extend(file(b"behind", b"x"));
    let listing = read(&tar);
    assert_eq!(
        (paths(&listing), &listing.cut),
        (vec!["behind", "sparse"], &None)
    );
    assert_eq!(listing.entries()[1].size, 0o1000000);
    assert_eq!(listing.entries()[1].content, None);
}

#[test]
fn what_is_no_tar_is_said_so_and_what_is_cut_off_is_listed_as_far_as_it_goes() {
    for bytes in [
        &b""[..],
        b"{}",
        &[b'x'; 2000],
        &gzip(b"text"),
        b"\xfd7zXZ\0\0",
    ] {
        assert!(matches!(read(bytes).cut, Some(Cut::NoTar(_))), "{bytes:?}");
    }
    let tar = [file(b"a", b"one"), file(b"b", &[b'x'; 5000])].concat();
    let listing = read(&tar[..3000]);
    assert_eq!(paths(&listing), ["a", "b"]);
    assert!(matches!(listing.cut, Some(Cut::Broken(_))));
    assert!(listing.entries()[0].content.is_some() && listing.entries()[1].content.is_none());
    let huge = block(&header(b"huge", u64::MAX - 600, EntryType::Regular), &[]);
    assert!(matches!(read(&huge).cut, Some(Cut::Broken(_))));
    let packed = gzip(&tar);
    assert!(matches!(
        read(&packed[..packed.len() - 12]).cut,
        Some(Cut::Broken(_)) | None
    ));
}

#[test]
fn a_bomb_ends_at_its_ratio_and_nobody_waits_for_nothing() {
    let mut bomb = header(b"zeros", 1 << 30, EntryType::Regular)
        .as_bytes()
        .to_vec();
    bomb.resize(80 << 20, 0);
    let listing = read(&zstd::encode_all(bomb.as_slice(), 1).unwrap());
    assert_eq!(
        (paths(&listing), &listing.cut),
        (vec!["zeros"], &Some(Cut::Ratio))
    );
    let listing = Listing::read(bomb.as_slice(), &Bounds::new(|| true));
    assert_eq!(listing.cut, Some(Cut::GivenUp));
}

#[test]
fn of_a_name_that_is_there_twice_the_last_counts() {
    let listing = read(&[file(b"a", b"one"), file(b"./a", b"other")].concat());
    assert_eq!(listing.entries().len(), 1);
    assert_eq!(listing.entries()[0].size, 5);
}
