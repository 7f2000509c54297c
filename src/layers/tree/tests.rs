use ::tar::{Builder, EntryType, Header};

use super::*;
use crate::layers::Bounds;

/// A layer of these: what ends in a slash is a directory.
fn layer(names: &[&str]) -> Arc<Listing> {
    let mut tar = Builder::new(Vec::new());
    for name in names {
        let mut header = Header::new_gnu();
        header.set_size(0);
        if name.ends_with('/') {
            header.set_entry_type(EntryType::Directory);
        }
        tar.append_data(&mut header, name, std::io::empty())
            .unwrap();
    }
    let bytes = tar.into_inner().unwrap();
    Arc::new(Listing::read(bytes.as_slice(), &Bounds::new(|| false)))
}

fn paths(tree: &Tree) -> Vec<(usize, &str)> {
    tree.nodes().map(|node| (node.layer, node.path)).collect()
}

#[test]
fn whiteouts_take_away_what_lies_below_and_not_what_lies_beside() {
    let image = Tree::of_image(
        vec![
            layer(&[
                "a/", "a/one", "a/two", "b/", "b/one", "b/x/", "b/x/y", "c", "d/", "d/e",
            ]),
            layer(&[
                "a/.wh.one",
                "b/.wh..wh..opq",
                "b/new",
                ".wh.c",
                "d",
                "c.conf",
            ]),
        ],
        false,
    );
    assert_eq!(
        paths(&image),
        [
            (0, "a"),
            (0, "a/two"),
            (0, "b"),
            (1, "b/new"),
            (1, "c.conf"),
            (1, "d")
        ]
    );
    // What a layer puts where it takes something away stays, and marks are no files.
    let image = Tree::of_image(
        vec![layer(&["a"]), layer(&[".wh.a", "a", ".wh..wh.plnk/x"])],
        true,
    );
    assert_eq!(
        paths(&image),
        [(1, ".wh..wh.plnk/x"), (1, ".wh.a"), (1, "a")]
    );
}

#[test]
fn a_directory_shows_what_stands_in_it_and_nothing_below() {
    let tree = Tree::of_layer(layer(&[
        "x",
        "x-y",
        "etc/ssl/certs/a",
        "etc/hosts",
        "etc0",
        "empty/",
    ]));
    let names = |directory| {
        let children = tree.children(directory)?;
        Some(
            children
                .iter()
                .map(|it| (it.name.to_owned(), it.node.is_some()))
                .collect::<Vec<_>>(),
        )
    };
    let named = |names: &[(&str, bool)]| {
        Some(
            names
                .iter()
                .map(|(name, known)| ((*name).to_owned(), *known))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        names(""),
        named(&[
            ("empty", true),
            ("etc", false),
            ("etc0", true),
            ("x", true),
            ("x-y", true)
        ])
    );
    assert_eq!(names("etc"), named(&[("hosts", true), ("ssl", false)]));
    assert_eq!(names("empty"), named(&[]));
    assert_eq!(names("x"), None);
    assert_eq!(names("nothing"), None);
}

#[test]
fn a_search_is_for_names_or_for_paths() {
    let tree = Tree::of_layer(layer(&[
        "etc/ssl/openssl.cnf",
        "etc/ssl/certs/a",
        "usr/bin/openssl",
    ]));
    let found = |part, most| {
        let (found, more) = tree.search(part, most);
        (
            found
                .iter()
                .map(|it| it.path.to_owned())
                .collect::<Vec<_>>(),
            more,
        )
    };
    assert_eq!(
        found("openssl", 9),
        (
            vec![
                "etc/ssl/openssl.cnf".to_owned(),
                "usr/bin/openssl".to_owned()
            ],
            false
        )
    );
    assert_eq!(found("ssl/certs", 9).0, ["etc/ssl/certs/a"]);
    assert_eq!(
        found("openssl", 1),
        (vec!["etc/ssl/openssl.cnf".to_owned()], true)
    );
}
