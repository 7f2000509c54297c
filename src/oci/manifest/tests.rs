//! Manifests as clients write them, and as attackers do.

use super::*;
use crate::digest::{Algorithm, Digest};
use crate::oci::media_type::{DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX};
use serde_json::{Value, json};

fn descriptor_json(media_type: &str, content: &str) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::of(Algorithm::Sha256, content.as_bytes()),
        "size": content.len(),
    })
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor_json("application/vnd.oci.image.config.v1+json", "{}"),
        "layers": [
            descriptor_json("application/vnd.oci.image.layer.v1.tar+gzip", "one"),
            descriptor_json("application/vnd.oci.image.layer.nondistributable.v1.tar", "two"),
        ],
    })
}

fn index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor_json(OCI_IMAGE, "child")],
    })
}

/// `document` with one field put in; `Null` takes the field out.
fn with(mut document: Value, field: &str, value: Value) -> Value {
    let fields = document.as_object_mut().unwrap();
    match value {
        Value::Null => fields.remove(field),
        value => fields.insert(field.into(), value),
    };
    document
}

fn parse(document: &Value) -> Result<Manifest, ManifestError> {
    Manifest::parse(document.to_string().as_bytes(), None)
}

#[test]
fn an_image_names_its_config_and_layers() {
    let manifest = parse(&image()).unwrap();
    assert_eq!(manifest.kind(), ManifestType::OciImage);
    let parts: Vec<_> = manifest
        .parts()
        .map(|(role, part)| (role, part.size(), part.is_foreign()))
        .collect();
    assert_eq!(
        parts,
        [
            (Role::Config, 2, false),
            (Role::Layer, 3, false),
            (Role::Layer, 3, true)
        ]
    );
    assert_eq!(
        manifest.referrer_artifact_type(),
        Some("application/vnd.oci.image.config.v1+json")
    );
}

#[test]
fn an_index_names_its_children() {
    let manifest = parse(&index()).unwrap();
    assert_eq!(manifest.kind(), ManifestType::OciIndex);
    assert_eq!(manifest.parts().next().unwrap().0, Role::Child);
    assert_eq!(manifest.referrer_artifact_type(), None);
    let empty = parse(&with(index(), "manifests", json!([]))).unwrap();
    assert_eq!(empty.parts().count(), 0);
}

#[test]
fn docker_types_are_read_alike() {
    let manifest = parse(&with(image(), "mediaType", json!(DOCKER_IMAGE))).unwrap();
    assert_eq!(manifest.kind(), ManifestType::DockerImage);
    let manifest = parse(&with(index(), "mediaType", json!(DOCKER_LIST))).unwrap();
    assert_eq!(manifest.kind(), ManifestType::DockerList);
}

#[test]
fn artifact_type_subject_and_annotations_are_read() {
    let mut document = with(
        image(),
        "artifactType",
        json!("application/vnd.example.sbom"),
    );
    document = with(document, "subject", descriptor_json(OCI_IMAGE, "subject"));
    document = with(document, "annotations", json!({"a": "b"}));
    let manifest = parse(&document).unwrap();
    assert_eq!(
        manifest.referrer_artifact_type(),
        Some("application/vnd.example.sbom")
    );
    assert_eq!(manifest.subject().unwrap().size(), 7);
    assert_eq!(manifest.annotations()["a"], "b");
    // An empty type counts as none (distribution-spec, "Listing Referrers").
    let manifest = parse(&with(image(), "artifactType", json!(""))).unwrap();
    assert_eq!(manifest.artifact_type(), None);
}

#[test]
fn header_and_document_must_agree_on_the_media_type() {
    let bytes = image().to_string();
    let silent = with(image(), "mediaType", Value::Null).to_string();
    let parse = |text: &str, header: Option<&str>| Manifest::parse(text.as_bytes(), header);
    assert!(parse(&bytes, Some(OCI_IMAGE)).is_ok());
    assert!(parse(&bytes, Some(&format!("{OCI_IMAGE}; charset=utf-8"))).is_ok());
    assert_eq!(
        parse(&silent, Some(DOCKER_IMAGE)).unwrap().kind(),
        ManifestType::DockerImage
    );
    for header in [DOCKER_IMAGE, OCI_INDEX, "application/json", "text/plain"] {
        assert!(
            matches!(
                parse(&bytes, Some(header)),
                Err(ManifestError::MediaTypeMismatch { .. })
            ),
            "{header}"
        );
    }
    for header in [None, Some(""), Some("; x=y")] {
        assert_eq!(parse(&silent, header), Err(ManifestError::NoMediaType));
    }
    assert!(matches!(
        parse(&silent, Some("application/json")),
        Err(ManifestError::MediaType(_))
    ));
    assert!(matches!(
        parse(&silent, Some(OCI_INDEX)),
        Err(ManifestError::ForeignField { .. })
    ));
}

#[test]
fn fields_of_two_kinds_in_one_manifest_are_refused() {
    for (document, field) in [
        (with(image(), "manifests", json!([])), "manifests"),
        (with(index(), "layers", json!([])), "layers"),
        (with(index(), "config", json!({})), "config"),
        (with(image(), "fsLayers", json!([])), "fsLayers"),
    ] {
        match parse(&document) {
            Err(ManifestError::ForeignField { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    // Null is a value too: the key alone makes the document ambiguous.
    let text = image().to_string().replacen('{', "{\"manifests\":null,", 1);
    assert!(matches!(
        Manifest::parse(text.as_bytes(), None),
        Err(ManifestError::ForeignField { .. })
    ));
}

#[test]
fn null_lists_are_empty_lists() {
    for (document, field) in [(image(), "layers"), (index(), "manifests")] {
        let text = with(document, field, json!("NULL"))
            .to_string()
            .replace("\"NULL\"", "null");
        let manifest = Manifest::parse(text.as_bytes(), None).unwrap();
        assert!(!manifest.parts().any(|(role, _)| role != Role::Config));
    }
}

#[test]
fn sizes_lie_between_zero_and_two_to_the_63() {
    let sized = |size: &str| {
        let text = with(index(), "manifests", json!([descriptor_json("a/b", "x")])).to_string();
        Manifest::parse(
            text.replace("\"size\":1", &format!("\"size\":{size}"))
                .as_bytes(),
            None,
        )
    };
    for size in ["0", "9223372036854775807"] {
        assert!(sized(size).is_ok(), "{size}");
    }
    for size in [
        "-1",
        "9223372036854775808",
        "1e30",
        "1.5",
        "\"1\"",
        "null",
        "true",
        "[]",
    ] {
        assert!(sized(size).is_err(), "{size}");
    }
    assert!(
        sized("-1")
            .unwrap_err()
            .to_string()
            .contains("manifests[0]")
    );
}

#[test]
fn descriptors_must_be_whole() {
    for (field, value) in [
        ("digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e")),
        ("digest", json!("sha256:../x")),
        ("digest", json!("")),
        ("digest", Value::Null),
        ("size", Value::Null),
        ("mediaType", Value::Null),
        ("mediaType", json!("")),
        ("mediaType", json!("a/b\n")),
        ("mediaType", json!("a".repeat(256))),
    ] {
        let broken = with(descriptor_json("a/b", "x"), field, value.clone());
        for document in [
            with(image(), "config", broken.clone()),
            with(image(), "layers", json!([broken])),
            with(image(), "subject", broken.clone()),
            with(index(), "manifests", json!([broken])),
        ] {
            assert!(
                matches!(parse(&document), Err(ManifestError::Descriptor { .. })),
                "{field} {value}"
            );
        }
    }
}

#[test]
fn wrong_types_versions_and_annotations_are_refused() {
    for (field, value) in [
        ("schemaVersion", json!(1)),
        ("schemaVersion", json!("2")),
        ("schemaVersion", Value::Null),
        ("config", Value::Null),
        ("layers", json!({})),
        ("annotations", json!({"a": 1})),
        ("annotations", json!([])),
        ("artifactType", json!("a\u{7f}")),
        ("mediaType", json!(1)),
    ] {
        let document = with(image(), field, value.clone());
        assert!(parse(&document).is_err(), "{field} {value}");
    }
}

#[test]
fn descriptors_are_bounded_in_number() {
    let listed = |count: usize| {
        with(
            index(),
            "manifests",
            json!(vec![descriptor_json("a/b", "x"); count]),
        )
    };
    assert!(parse(&listed(DESCRIPTORS_MAX)).is_ok());
    assert!(matches!(
        parse(&listed(DESCRIPTORS_MAX + 1)),
        Err(ManifestError::TooManyDescriptors { .. })
    ));
    // Descriptors that are not even descriptors run into the count of values.
    let text = index()
        .to_string()
        .replace("[{", &format!("[{}{{", "{},".repeat(1_000_000)));
    assert_eq!(
        Manifest::parse(text.as_bytes(), None),
        Err(ManifestError::Json(JsonError::Values))
    );
}

#[test]
fn bytes_are_bounded() {
    let padded = |bytes: usize| {
        let mut text = index().to_string();
        text.push_str(&" ".repeat(bytes - text.len()));
        Manifest::parse(text.as_bytes(), None)
    };
    assert!(padded(MANIFEST_BYTES_MAX).is_ok());
    assert_eq!(
        padded(MANIFEST_BYTES_MAX + 1),
        Err(ManifestError::TooLarge(MANIFEST_BYTES_MAX + 1))
    );
}

#[test]
fn unknown_fields_are_no_error() {
    let document = with(
        image(),
        "org.example.custom",
        json!({"deep": [1, {"x": null}]}),
    );
    assert_eq!(parse(&document).unwrap(), parse(&image()).unwrap());
}

#[test]
fn parts_read_over_again_are_those_that_were_taken() {
    let digest = Digest::of(Algorithm::Sha512, b"other").to_string();
    let escaped = image().to_string().replace("sha256:", "sha256\\u003a");
    let spelled = [
        escaped,
        format!(" {} ", index()),
        index()
            .to_string()
            .replace("\"size\":5", "\"size\":9223372036854775807"),
    ];
    let documents = [
        image(),
        index(),
        with(
            image(),
            "annotations",
            json!({"digest": "no", "size": "-1"}),
        ),
        with(image(), "subject", descriptor_json(OCI_IMAGE, "subject")),
        with(image(), "layers", json!([])),
        with(image(), "layers", Value::Null),
        with(index(), "manifests", json!([])),
        with(
            index(),
            "custom",
            json!({"layers": [{"digest": 1}], "config": {"size": "x"}}),
        ),
        with(
            image(),
            "config",
            json!({
                "size": 0, "digest": digest, "mediaType": "a", "data": "", "urls": ["b"], "annotations": null,
            }),
        ),
    ];
    let nulls = [
        image()
            .to_string()
            .replace("\"layers\":[", "\"x\":[")
            .replacen('{', "{\"layers\":null,", 1),
        index()
            .to_string()
            .replace("\"manifests\":[", "\"x\":[")
            .replacen('{', "{\"manifests\":null,", 1),
    ];
    let texts = documents.iter().map(Value::to_string);
    for text in texts.chain(spelled).chain(nulls) {
        let taken = Manifest::parse(text.as_bytes(), None).unwrap();
        let taken: Vec<_> = taken
            .parts()
            .map(|(role, part)| (role, part.digest(), part.size()))
            .collect();
        let read = crate::oci::parts(text.as_bytes()).unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|it| (it.role, it.digest, it.size))
            .collect();
        assert_eq!(read, taken, "{text}");
    }
    for text in [
        "",
        "[]",
        "{\"config\":{}}",
        "{\"layers\":[{\"digest\":\"x\",\"size\":1}]}",
    ] {
        assert_eq!(crate::oci::parts(text.as_bytes()), None, "{text}");
    }
}
