//! Layers: whatever the bytes are, what is listed is bounded, sorted, and opens to the content that was hashed.
#![no_main]

use std::io::Read;
use std::sync::Arc;

use drift::layers::{Bounds, Listing, Tree, content};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let listing = Arc::new(Listing::read(data, &Bounds::new(|| false)));
    let paths: Vec<_> = listing
        .entries()
        .iter()
        .map(|it| listing.path(it))
        .collect();
    assert!(paths.is_sorted() && paths.windows(2).all(|pair| pair[0] != pair[1]));
    for (entry, path) in listing.entries().iter().zip(&paths) {
        assert!(!path.is_empty() && !path.starts_with('/') && !path.contains(char::is_control));
        if entry.content.is_some() && entry.size < 4096 {
            let bounds = Bounds::new(|| false);
            let mut opened =
                content::open(data, entry.offset, entry.size, &bounds).expect("it was read before");
            let mut bytes = Vec::new();
            opened.read_to_end(&mut bytes).expect("it was read before");
            assert_eq!(bytes.len() as u64, entry.size);
        }
    }
    let image = Tree::of_image(vec![listing.clone(), listing.clone()], true);
    assert!(image.len() <= listing.entries().len());
    for tree in [image, Tree::of_layer(listing.clone())] {
        let children = tree.children("").expect("there is a root");
        assert!(children.is_sorted_by(|a, b| a.name < b.name));
    }
});
