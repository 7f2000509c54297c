//! Every byte of a small store flipped, one at a time.
//!
//! Which bytes are tried follows from a seed, which is printed; `DRIFT_TEST_LONG` tries all of packs
//! and log and more of the index, and `DRIFT_TEST_SEED` repeats a run.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use drift::ghostbay::catalog::Rows;
use drift::ghostbay::catalog::change_log::file::LOG_HEADER_BYTES;
use drift::ghostbay::pack::accounts::PACKS;
use drift::ghostbay::rebuild::rebuild;
use drift::registry::check::{Damage, Repairs};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::image::{Image, Open, images, verify_stopped};

/// Bytes of the index that are tried without `DRIFT_TEST_LONG`.
const INDEX_SAMPLE: usize = 400;
/// The same with it. The check leaves a damaged index unclosed, and a process has so many files.
const INDEX_SAMPLE_LONG: usize = 8000;
/// The same of each other file.
const FILE_SAMPLE: usize = 300;

fn is_long() -> bool {
    std::env::var_os("DRIFT_TEST_LONG").is_some()
}

fn seed() -> u64 {
    let seed = match std::env::var("DRIFT_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::rng().random(),
    };
    println!("DRIFT_TEST_SEED={seed}");
    seed
}

/// A directory in memory where there is one: thousands of small stores are opened and synced.
fn temporary() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A small store, closed, and what is copied for each flip.
struct Original {
    directory: TempDir,
    images: Vec<Image>,
}

impl Original {
    async fn make() -> Original {
        let directory = temporary();
        let images = images();
        let store = Open::at(directory.path()).await.unwrap();
        for image in &images {
            store.push(image).await.unwrap();
        }
        assert_eq!(store.verify(Repairs::Nothing).await, []);
        store.close().await;
        assert_eq!(verify_stopped(directory.path()), Ok((None, Vec::new())));
        Original { directory, images }
    }

    fn files(&self, directory: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(self.directory.path().join(directory))
            .unwrap()
            .map(|entry| Path::new(directory).join(entry.unwrap().file_name()))
            .collect();
        files.sort();
        files
    }

    fn length(&self, file: &Path) -> u64 {
        let path = self.directory.path().join(file);
        std::fs::metadata(path).unwrap().len()
    }

    /// A copy with one byte of `file` flipped.
    fn flipped(&self, file: &Path, at: u64, mask: u8) -> TempDir {
        let copy = temporary();
        for directory in ["packs", "log"] {
            std::fs::create_dir(copy.path().join(directory)).unwrap();
            for file in self.files(directory) {
                std::fs::copy(self.directory.path().join(&file), copy.path().join(&file)).unwrap();
            }
        }
        let index = Path::new("index.redb");
        std::fs::copy(self.directory.path().join(index), copy.path().join(index)).unwrap();
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(copy.path().join(file))
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ mask], at).unwrap();
        copy
    }
}

/// The places that are tried: all, or as many as the sample has.
fn places(random: &mut StdRng, length: u64, sample: usize) -> Vec<u64> {
    match is_long() {
        true => (0..length).collect(),
        false => (0..length).sample(random, sample),
    }
}

/// The tags that damages name.
fn named(damages: &[Damage]) -> BTreeSet<(String, String)> {
    let hits = damages.iter().flat_map(|damage| &damage.hits);
    hits.flat_map(|hit| {
        let repository = hit.repository.clone();
        hit.tags
            .iter()
            .map(move |tag| (repository.clone(), tag.clone()))
    })
    .collect()
}

fn name(image: &Image) -> (String, String) {
    (image.repository.to_owned(), image.tag.to_owned())
}

/// The images that cannot be pulled.
async fn lost(store: &Open, images: &[Image]) -> Vec<(Image, String)> {
    let mut lost = Vec::new();
    for image in images {
        if let Err(reason) = store.pull(image).await {
            lost.push((image.clone(), reason));
        }
    }
    lost
}

async fn assert_whole(directory: &Path, images: &[Image], case: &str) {
    let store = Open::at(directory).await.unwrap();
    for image in images {
        let pulled = store.pull(image).await;
        assert_eq!(pulled, Ok(()), "{case}: {}:{}", image.repository, image.tag);
    }
    assert_eq!(store.verify(Repairs::Nothing).await, [], "{case}");
    store.close().await;
    assert_eq!(verify_stopped(directory), Ok((None, Vec::new())), "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_of_a_pack_hits_what_verify_names_and_a_push_heals_it() {
    let original = Original::make().await;
    let mut random = StdRng::seed_from_u64(seed());
    let store = Open::at(original.directory.path()).await.unwrap();
    let tails: Vec<(PathBuf, u64)> = {
        let rows = store.storage.catalog().read().unwrap();
        let packs = rows.scan(&PACKS, &[], None).unwrap();
        packs
            .map(|row| row.unwrap())
            .map(|(pack, row)| (format!("packs/{pack}.pack").into(), row.tail))
            .collect()
    };
    store.close().await;
    let (mut live, mut tried) = (0, 0);
    for (file, tail) in tails {
        let committed = original.length(&file).min(tail);
        for at in places(&mut random, committed, FILE_SAMPLE) {
            let mask = 1 << random.random_range(0..8);
            let case = format!("{} byte {at} mask {mask}", file.display());
            let copy = original.flipped(&file, at, mask);
            let (pages, damages) = verify_stopped(copy.path()).unwrap();
            assert_eq!(pages, None, "{case}");
            let store = Open::at(copy.path()).await.unwrap();
            let hit: BTreeSet<_> = lost(&store, &original.images)
                .await
                .iter()
                .map(|(image, _)| name(image))
                .collect();
            // What cannot be pulled is named; what is named but can be pulled has a damaged header.
            let named = named(&damages);
            assert!(hit.is_subset(&named), "{case}: {hit:?}, {damages:?}");
            if at >= 4096 {
                let most = original.images.len() - 1;
                assert!(named.len() <= most, "{case}: {damages:?}");
            }
            store.verify(Repairs::Marks).await;
            for image in &original.images {
                store.push(image).await.unwrap();
            }
            store.close().await;
            assert_whole(copy.path(), &original.images, &case).await;
            live += usize::from(!damages.is_empty());
            tried += 1;
        }
    }
    println!("{tried} bytes flipped, {live} of them live");
    assert!(live > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_of_the_log_loses_nothing_and_is_closed_by_a_checkpoint() {
    let original = Original::make().await;
    let mut random = StdRng::seed_from_u64(seed());
    let (mut live, mut tried) = (0, 0);
    for file in original.files("log") {
        for at in places(&mut random, original.length(&file), FILE_SAMPLE) {
            let mask = 1 << random.random_range(0..8);
            let case = format!("{} byte {at} mask {mask}", file.display());
            let copy = original.flipped(&file, at, mask);
            let (pages, damages) = verify_stopped(copy.path()).unwrap();
            assert_eq!(pages, None, "{case}");
            assert!(damages.iter().all(|damage| damage.what == "the change log"));
            let store = Open::at(copy.path()).await.unwrap();
            for image in &original.images {
                assert_eq!(store.pull(image).await, Ok(()), "{case}");
            }
            if !damages.is_empty() {
                live += 1;
                let repaired = store.verify(Repairs::All).await;
                assert!(repaired.iter().all(|damage| damage.repaired), "{case}");
                for image in &original.images {
                    store.push(image).await.unwrap();
                }
            }
            store.close().await;
            assert_whole(copy.path(), &original.images, &case).await;
            tried += 1;
        }
    }
    println!("{tried} bytes flipped, {live} of them live");
    assert!(live > 0);
}

/// Where a child finds its store.
const CHILD: &str = "DRIFT_TEST_FLIPPED";

/// In a process of its own, because redb can end its process over a damaged page: pulls everything
/// from the store that `DRIFT_TEST_FLIPPED` names, and pushes again what could not be pulled.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let store = match Open::at(Path::new(&directory)).await {
        Ok(store) => store,
        Err(error) => {
            println!("refused: {error}");
            return;
        }
    };
    let hit = lost(&store, &images()).await;
    println!("lost: {}", hit.len());
    for (image, _) in &hit {
        // What a push is told to have done is done, and it heals what it writes again.
        if store.push(image).await.is_ok() {
            assert_eq!(store.pull(image).await, Ok(()), "pushed again");
            println!("healed");
        }
    }
    store.close().await;
}

/// What became of a child.
struct Fate {
    said: String,
    aborted: bool,
}

impl Fate {
    fn of(directory: &Path, case: &str) -> Fate {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "flips::child", "--nocapture"])
            .env(CHILD, directory)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let aborted = output.status.code().is_none();
        assert!(
            output.status.success() || aborted,
            "{case}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Fate { said, aborted }
    }

    fn refused(&self) -> bool {
        self.said.contains("refused: ")
    }

    fn lost(&self) -> usize {
        let line = self.said.lines().find_map(|line| {
            let (_, lost) = line.split_once("lost: ")?;
            lost.parse().ok()
        });
        line.unwrap_or(0)
    }

    fn healed(&self) -> usize {
        self.said.matches("healed").count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_of_the_index_is_named_and_a_push_or_a_rebuild_heals_it() {
    let original = Original::make().await;
    let mut random = StdRng::seed_from_u64(seed());
    let file = Path::new("index.redb");
    let (mut tried, mut hit, mut healed, mut refused, mut aborted) = (0, 0, 0, 0, 0);
    for at in index_places(&original, &mut random) {
        let mask = 1 << random.random_range(0..8);
        let case = format!("index byte {at} mask {mask}");
        let copy = original.flipped(file, at, mask);
        let verdict = verify_stopped(copy.path());
        let is_bad = verdict_is_bad(&verdict);
        let fate = Fate::of(copy.path(), &case);
        if fate.refused() {
            assert!(fate.said.contains("drift rebuild"), "{case}: {}", fate.said);
        }
        // Nothing is hit that the check did not see.
        let harmless = !fate.refused() && !fate.aborted && fate.lost() == 0;
        assert!(harmless || is_bad, "{case}: {verdict:?} {}", fate.said);
        if is_bad {
            // Nothing more is to be written to an index whose pages are damaged: it is made again.
            rebuild(copy.path()).unwrap();
            // The bytes of an object whose row was lost count as live until they are counted again.
            let store = Open::at(copy.path()).await.unwrap();
            let repaired = store.verify(Repairs::All).await;
            assert!(repaired.iter().all(|damage| damage.repaired), "{case}");
            store.close().await;
        }
        assert_whole(copy.path(), &original.images, &case).await;
        tried += 1;
        hit += fate.lost();
        healed += fate.healed();
        refused += usize::from(fate.refused());
        aborted += usize::from(fate.aborted);
    }
    println!(
        "{tried} bytes flipped: {hit} images hit and {healed} of them healed by a push, {refused} \
         stores refused, {aborted} processes ended by redb"
    );
    assert!(hit > 0 && healed > 0);
}

type Verdict = Result<(Option<String>, Vec<Damage>), String>;

fn verdict_is_bad(verdict: &Verdict) -> bool {
    !matches!(verdict, Ok((None, damages)) if damages.is_empty())
}

/// Bytes of the index that are not zero, and of the zeros a few: most of the file is room.
fn index_places(original: &Original, random: &mut StdRng) -> Vec<u64> {
    let bytes = std::fs::read(original.directory.path().join("index.redb")).unwrap();
    let is_used = |at: &u64| {
        let page = (*at as usize / 4096) * 4096;
        bytes[page..(page + 4096).min(bytes.len())]
            .iter()
            .any(|byte| *byte != 0)
    };
    let used = (0..bytes.len() as u64).filter(is_used);
    match is_long() {
        true => used.sample(random, INDEX_SAMPLE_LONG),
        false => used.sample(random, INDEX_SAMPLE),
    }
}

/// A kill between a commit and its line in the log leaves a log like the first (O3); nothing that happens to
/// a server leaves one like the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_the_last_transaction_is_no_damage_in_a_stopped_store() {
    let original = Original::make().await;
    let is_of_changes = |path: &PathBuf| path.extension().is_some_and(|it| it == "changes");
    let newest = original
        .files("log")
        .into_iter()
        .filter(is_of_changes)
        .max();
    let newest = newest.unwrap();
    let length = original.length(&newest);
    for (missing, is_damage) in [(1, false), (length - LOG_HEADER_BYTES as u64, true)] {
        let copy = original.flipped(&newest, 0, 0);
        let file = std::fs::File::options()
            .write(true)
            .open(copy.path().join(&newest));
        file.unwrap().set_len(length - missing).unwrap();
        let (pages, damages) = verify_stopped(copy.path()).unwrap();
        assert_eq!(
            (pages, !damages.is_empty()),
            (None, is_damage),
            "{damages:?}"
        );
        let store = Open::at(copy.path()).await.unwrap();
        // Closed by a start, as far as a check is concerned that waits for it.
        let damages = store.verify(Repairs::Nothing).await;
        assert!(damages.is_empty(), "{damages:?}");
        store.close().await;
    }
}
