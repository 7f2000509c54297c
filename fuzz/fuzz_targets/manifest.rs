//! A pushed manifest. The first byte says which `Content-Type` comes along.
#![no_main]

use drift::oci::manifest::DESCRIPTORS_MAX;
use drift::oci::{Content, Manifest, ManifestType, parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    let content_type = ManifestType::ALL
        .get(usize::from(selector % 5))
        .map(|known| known.as_str());
    let Ok(manifest) = Manifest::parse(bytes, content_type) else {
        return;
    };
    let (Content::Image { layers: list, .. } | Content::Index { manifests: list }) =
        manifest.content();
    assert!(list.len() <= DESCRIPTORS_MAX);
    assert!(manifest.parts().all(|(_, part)| part.size() < 1 << 63));
    // What is read over again for sizes has to be what was taken.
    let again: Vec<_> = parts(bytes).expect("taken, so it has parts");
    let again = again.iter().map(|it| (it.role, it.digest, it.size));
    let taken = manifest
        .parts()
        .map(|(role, part)| (role, part.digest(), part.size()));
    assert!(again.eq(taken));
    if let Some(content_type) = content_type {
        assert_eq!(manifest.kind().as_str(), content_type);
    }

    // A second parser that forgives everything must have read the same manifest.
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("accepted, so JSON");
    let again = serde_json::to_vec(&value).expect("a value is JSON");
    let kind = manifest.kind().as_str();
    assert_eq!(Manifest::parse(&again, Some(kind)), Ok(manifest));
});
