//! What the program is made of may be given away with it: every crate that is built into it has a licence
//! that is known to allow that. Prints them all.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than to be named.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether one side of each choice is allowed, and both sides of each `AND` (SPDX, annex D).
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let all = |text: &str| text.split(" AND ").all(is_one_allowed);
    // Brackets are around choices within an `AND`, in all that there is.
    match expression.contains('(') {
        true => expression.split(" AND ").all(|part| {
            let part = part.trim_matches(['(', ')']);
            part.split(" OR ").any(is_one_allowed)
        }),
        false => expression.split(" OR ").any(all),
    }
}

fn is_one_allowed(name: &str) -> bool {
    ALLOWED.contains(&name.trim_matches([' ', '(', ')']))
}

#[test]
fn every_crate_in_the_program_has_a_licence_that_allows_it() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version=1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let of_id: BTreeMap<_, _> = nodes
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    // What is built into it, or builds it: not what tests use.
    let root = metadata["resolve"]["root"].as_str().unwrap();
    let (mut reached, mut next) = (BTreeSet::from([root]), vec![root]);
    while let Some(id) = next.pop() {
        for dependency in of_id[id]["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let id = dependency["pkg"].as_str().unwrap();
            if kinds.iter().any(|kind| kind["kind"] != "dev") && reached.insert(id) {
                next.push(id);
            }
        }
    }
    let mut licences = BTreeMap::<&str, Vec<String>>::new();
    for package in metadata["packages"].as_array().unwrap() {
        if reached.contains(package["id"].as_str().unwrap()) {
            let licence = package["license"].as_str().unwrap_or("none");
            let name = package["name"].as_str().unwrap();
            let version = package["version"].as_str().unwrap();
            licences
                .entry(licence)
                .or_default()
                .push(format!("{name} {version}"));
        }
    }
    for (licence, crates) in &licences {
        println!("{licence}: {}", crates.join(", "));
    }
    assert!(licences.values().map(Vec::len).sum::<usize>() > 100);
    let refused: Vec<_> = licences
        .iter()
        .filter(|(licence, _)| !is_allowed(licence))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn a_choice_needs_one_that_is_allowed_and_both_means_both() {
    for text in [
        "MIT OR GPL-3.0",
        "MIT/Apache-2.0",
        "ISC AND (Apache-2.0 OR GPL-3.0)",
    ] {
        assert!(is_allowed(text), "{text}");
    }
    for text in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "ISC AND (GPL-2.0 OR GPL-3.0)",
        "none",
    ] {
        assert!(!is_allowed(text), "{text}");
    }
}
