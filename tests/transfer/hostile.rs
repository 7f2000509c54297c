//! Tars that somebody hostile has made.

use std::io::Write;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::client::{Registry, image};
use crate::place::{CONFIG, at, failed, ran, run, text, write_layout};
use crate::support::drift;

/// A header of that name, length and type, whatever the crate thinks of the name.
fn header(name: &str, length: u64, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(length);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

fn link(name: &str, to: &str) -> Vec<u8> {
    let mut header = header(name, 0, EntryType::Symlink);
    header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// A layout as a tar.
fn good(directory: &Path) -> Vec<u8> {
    let layout = at(directory, "layout");
    let layer = vec![7; 10_000];
    let manifest = image(CONFIG, &[&layer]);
    write_layout(
        &layout,
        &[CONFIG, &layer],
        &[(Some("team/app:v1"), &manifest)],
    );
    let mut tar = Builder::new(Vec::new());
    tar.append_dir_all(".", &layout).unwrap();
    tar.into_inner().unwrap()
}

#[tokio::test]
async fn a_hostile_tar_is_refused_and_nothing_is_written_outside() {
    let to = Registry::start();
    let here = to.server.directory();
    let good = good(here);
    let outside = at(here, "outside");
    let with = |first: Vec<u8>| [first, good.clone()].concat();
    let file = |name: &str| {
        let mut bytes = header(name, 4, EntryType::Regular).as_bytes().to_vec();
        bytes.extend(b"evil");
        bytes.resize(1024, 0);
        bytes
    };
    let big_name = {
        let length = 1 << 40;
        header("././@LongLink", length, EntryType::GNULongName)
            .as_bytes()
            .to_vec()
    };
    let mut flipped = good.clone();
    flipped[3] ^= 1;
    let huge = header("blobs/huge", u64::MAX / 2, EntryType::Regular)
        .as_bytes()
        .to_vec();
    for (tar, why) in [
        (with(file("../outside")), "leads out of it"),
        (with(file("/tmp/../outside")), "leads out of it"),
        (with(file("a/../../outside")), "leads out of it"),
        (with(link("blobs/sha256", "/etc")), "leads out of it"),
        (with(link("index.json", "../outside")), "leads out of it"),
        (with(big_name), "are taken"),
        (with(huge), "not whole"),
        (flipped, "checksum"),
        (good[..good.len() / 2].to_vec(), "not whole"),
        (good[..300].to_vec(), "not whole"),
        (Vec::new(), "not whole"),
        (
            vec![0x1f, 0x8b, 8, 0]
                .into_iter()
                .chain([0; 1020])
                .collect(),
            "uncompress it first",
        ),
        (vec![b'x'; 4096], "checksum"),
    ] {
        let path = at(here, "hostile.tar");
        std::fs::write(&path, &tar).unwrap();
        failed(&run(here, &["import", text(&path)]), 1, why);
        let mut command = drift();
        command
            .args(["import", "-", "--repository", "team/app"])
            .current_dir(here);
        command.stdin(std::fs::File::open(&path).unwrap());
        failed(&command.output().unwrap(), 1, why);
        assert!(!outside.exists());
        to.get("/v2/team/app/manifests/v1").await.expect(404);
    }
    let path = at(here, "good.tar");
    std::fs::write(&path, &good).unwrap();
    ran(here, &["import", text(&path)]);
    to.get("/v2/team/app/manifests/v1").await.expect(200);
}

#[tokio::test]
async fn an_index_and_a_layout_file_have_bounds() {
    let to = Registry::start();
    let here = to.server.directory();
    for (name, length, why) in [
        ("oci-layout", 5000, "at most 4096"),
        ("index.json", 65 << 20, "at most 67108864"),
    ] {
        let layout = at(here, "layout");
        write_layout(&layout, &[], &[]);
        let file = std::fs::File::options()
            .write(true)
            .open(layout.join(name))
            .unwrap();
        file.set_len(length).unwrap();
        failed(&run(here, &["import", text(&layout)]), 1, why);
        let mut tar = Builder::new(std::fs::File::create(at(here, "big.tar")).unwrap());
        tar.sparse(false);
        tar.append_dir_all(".", &layout).unwrap();
        tar.into_inner().unwrap().flush().unwrap();
        std::fs::remove_dir_all(&layout).unwrap();
        let mut command = drift();
        command
            .args(["import", "-", "--repository", "team/app"])
            .current_dir(here);
        command.stdin(std::fs::File::open(at(here, "big.tar")).unwrap());
        failed(&command.output().unwrap(), 1, why);
    }
}
