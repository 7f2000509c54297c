//! The layers of src/ARCHITECTURE.md, held against the `crate::` paths in the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A layer: the modules it is, and what it may import from the others.
struct Layer {
    modules: &'static [&'static str],
    may_import: &'static [&'static str],
}

/// The table. A path is a module of the crate, or one below it.
const LAYERS: &[Layer] = &[
    Layer {
        modules: &["digest", "range"],
        may_import: &[],
    },
    Layer {
        modules: &["spans"],
        may_import: &[],
    },
    Layer {
        modules: &["telemetry"],
        may_import: &["spans"],
    },
    Layer {
        modules: &["tar"],
        may_import: &[],
    },
    Layer {
        modules: &["layers"],
        may_import: &["tar"],
    },
    Layer {
        modules: &["oci"],
        may_import: &["digest", "range"],
    },
    Layer {
        modules: &["ghostbay"],
        may_import: &["digest", "range", "spans", "migrations"],
    },
    Layer {
        modules: &["migrations"],
        may_import: &["ghostbay::catalog"],
    },
    Layer {
        modules: &["registry"],
        may_import: &["ghostbay", "digest", "range", "spans", "oci"],
    },
    Layer {
        modules: &["auth"],
        may_import: &["ghostbay::catalog", "oci"],
    },
    Layer {
        modules: &["audit"],
        may_import: &["ghostbay::catalog", "oci"],
    },
    Layer {
        modules: &["http"],
        may_import: &[
            "audit",
            "registry",
            "auth",
            "oci",
            "telemetry",
            "spans",
            "digest",
            "range",
            "ghostbay::admin",
            "ghostbay::background",
            "ghostbay::engine",
            "ghostbay::figures",
            "ghostbay::mapped",
            "ghostbay::read",
            "ghostbay::uploads",
            "ghostbay::LocalStorageEngine",
            "ghostbay::StorageError",
        ],
    },
    Layer {
        modules: &["s3"],
        may_import: &[
            "http",
            "audit",
            "registry",
            "auth",
            "oci",
            "spans",
            "digest",
            "range",
            "ghostbay::engine",
            "ghostbay::terms",
            "ghostbay::now_ms",
            "ghostbay::LocalStorageEngine",
            "ghostbay::StorageError",
        ],
    },
    Layer {
        modules: &["management"],
        may_import: &[
            "http",
            "audit",
            "registry",
            "auth",
            "oci",
            "spans",
            "digest",
            "ghostbay::admin",
            "ghostbay::engine",
            "ghostbay::LocalStorageEngine",
            "ghostbay::StorageError",
            "layers",
            "tar",
        ],
    },
    Layer {
        modules: &["ui"],
        may_import: &[
            "management",
            "http",
            "audit",
            "auth",
            "registry::history",
            "registry::tables",
            "oci",
            "digest",
            "ghostbay::now_ms",
            "layers",
        ],
    },
    Layer {
        modules: &["transfer"],
        may_import: &["http::exchange", "oci", "digest", "tar"],
    },
    Layer {
        modules: &["config"],
        may_import: &["registry", "http", "audit", "auth", "oci"],
    },
    Layer {
        modules: &["app", "cli"],
        may_import: &[
            "app",
            "audit",
            "auth",
            "cli",
            "config",
            "digest",
            "ghostbay",
            "http",
            "oci",
            "range",
            "management",
            "registry",
            "s3",
            "spans",
            "telemetry",
            "transfer",
            "ui",
        ],
    },
];

/// External crates that only some places may hold.
const HELD: &[(&str, &[&str])] = &[
    ("redb", &["ghostbay/catalog"]),
    ("bincode", &["ghostbay/catalog/codec.rs"]),
    ("axum", &["http", "management", "s3", "ui", "app", "app.rs"]),
    ("askama", &["ui"]),
    ("utoipa", &["management"]),
    ("utoipa_axum", &["management"]),
    ("s3s", &["s3"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("reqwest", &["http/outbound"]),
    ("rustls_native_certs", &["http/outbound"]),
    ("clap", &["cli"]),
    ("figment", &["config"]),
    ("indicatif", &["cli"]),
    ("tar", &["tar.rs", "transfer/tar"]),
    ("flate2", &["layers"]),
    ("http_auth", &["transfer/registry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_proto", &["telemetry"]),
    ("prost", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
];

/// Modules that do no I/O at all.
const PURE: &[&str] = &["digest.rs", "range.rs", "oci"];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The source without comments and without the tests at a file's end.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// All paths that follow `crate::`, with grouped imports taken apart: `a::{b, c::d}` is `a::b`
/// and `a::c`.
fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches(':');
        if rest[end..].starts_with('{') && rest[..end].ends_with("::") {
            for name in group(&rest[end + 1..]) {
                paths.insert(format!("{path}::{name}"));
            }
        } else if let Some(members) = rest.strip_prefix('{') {
            paths.extend(group(members));
        } else {
            paths.insert(path.to_owned());
        }
    }
    paths
}

/// The first names of a group's members.
fn group(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut members = vec![String::new()];
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            c if depth == 0 && !c.is_whitespace() => members.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    members
        .iter()
        .map(|member| member.split("::").next().unwrap().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file with the module of the crate that it belongs to.
fn files() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for directory in ["src", "migrations"] {
        for path in sources(&root().join(directory)) {
            let relative = path.strip_prefix(root()).unwrap();
            let mut parts = relative.components().map(|part| part.as_os_str());
            let module = match parts.next().unwrap().to_str().unwrap() {
                "migrations" => "migrations".to_owned(),
                _ => {
                    let first = parts.next().unwrap().to_str().unwrap();
                    first.trim_end_matches(".rs").to_owned()
                }
            };
            files.push((path, module));
        }
    }
    files
}

#[test]
fn every_layer_imports_only_what_the_table_allows() {
    let mut violations = Vec::new();
    let mut checked = BTreeMap::<String, usize>::new();
    for (path, module) in files() {
        if module == "lib" || module == "main" {
            continue;
        }
        let layer = LAYERS
            .iter()
            .find(|layer| layer.modules.contains(&module.as_str()))
            .unwrap_or_else(|| panic!("{} is in no layer", path.display()));
        for import in crate_paths(&code(&path)) {
            let within =
                layer.modules.iter().chain(layer.may_import).any(|allowed| {
                    import == *allowed || import.starts_with(&format!("{allowed}::"))
                });
            if !within {
                violations.push(format!("{}: crate::{import}", path.display()));
            }
            *checked.entry(module.clone()).or_default() += 1;
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    // The test must not pass because it saw nothing.
    for module in ["oci", "ghostbay", "registry", "http", "app", "migrations"] {
        assert!(
            checked.contains_key(module),
            "no import of {module} was seen"
        );
    }
}

#[test]
fn external_crates_stay_where_they_are_held() {
    let mut violations = Vec::new();
    for (path, _) in files() {
        let code = code(&path);
        let relative = path.strip_prefix(root()).unwrap();
        let relative = relative.strip_prefix("src").unwrap_or(relative);
        for (name, homes) in HELD {
            let named = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if named && !homes.iter().any(|home| relative.starts_with(home)) {
                violations.push(format!("{}: {name}", relative.display()));
            }
        }
        let pure = PURE.iter().any(|pure| relative.starts_with(pure));
        for io in ["std::fs", "std::net", "std::io", "tokio", "rustix"] {
            if pure && code.contains(io) {
                violations.push(format!("{}: {io}", relative.display()));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn grouped_imports_are_taken_apart() {
    let code = "use crate::oci::{Tag, name::{A, B}};\nuse crate::{digest, range::ByteRange};\n\
                fn f() { crate::ghostbay::engine::x() } $crate::hidden";
    let paths: Vec<_> = crate_paths(code).into_iter().collect();
    assert_eq!(
        paths,
        [
            "digest",
            "ghostbay::engine::x",
            "oci::Tag",
            "oci::name",
            "range"
        ]
    );
}
