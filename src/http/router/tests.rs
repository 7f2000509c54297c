//! Paths and their spellings.

use super::*;

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn parse(path: &str) -> Result<Route, RouteError> {
    Route::parse(path)
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

#[test]
fn each_endpoint_has_its_path() {
    let digest: Digest = DIGEST.parse().unwrap();
    let id = UploadId::random();
    let tag: Reference = "latest".parse().unwrap();
    for (path, route) in [
        ("/healthz".to_owned(), Route::Healthz),
        ("/readyz".to_owned(), Route::Readyz),
        ("/metrics".to_owned(), Route::Metrics),
        ("/v2".to_owned(), Route::Base),
        ("/v2/".to_owned(), Route::Base),
        ("/v2/_catalog".to_owned(), Route::Catalog),
        ("/v2/a/tags/list".to_owned(), Route::Tags(name("a"))),
        (
            "/v2/a/b/c/manifests/latest".to_owned(),
            Route::Manifest(name("a/b/c"), tag.clone()),
        ),
        (
            format!("/v2/a/manifests/{DIGEST}"),
            Route::Manifest(name("a"), Reference::Digest(digest)),
        ),
        (
            format!("/v2/a/blobs/{DIGEST}"),
            Route::Blob(name("a"), digest),
        ),
        ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
        ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(name("a"))),
        (
            format!("/v2/a/blobs/uploads/{id}"),
            Route::Upload(name("a"), id),
        ),
        (
            format!("/v2/a/referrers/{DIGEST}"),
            Route::Referrers(name("a"), digest),
        ),
    ] {
        assert_eq!(parse(&path), Ok(route), "{path}");
    }
}

#[test]
fn a_name_may_hold_the_words_of_the_api() {
    let digest: Digest = DIGEST.parse().unwrap();
    let tag: Reference = "list".parse().unwrap();
    for (path, route) in [
        (
            "/v2/manifests/manifests/list".to_owned(),
            Route::Manifest(name("manifests"), tag.clone()),
        ),
        (
            "/v2/a/tags/manifests/list".to_owned(),
            Route::Manifest(name("a/tags"), tag.clone()),
        ),
        (
            "/v2/a/blobs/uploads/manifests/list".to_owned(),
            Route::Manifest(name("a/blobs/uploads"), tag),
        ),
        (
            "/v2/a/blobs/tags/list".to_owned(),
            Route::Tags(name("a/blobs")),
        ),
        (
            "/v2/a/blobs/uploads/tags/list".to_owned(),
            Route::Tags(name("a/blobs/uploads")),
        ),
        (
            format!("/v2/a/blobs/blobs/{DIGEST}"),
            Route::Blob(name("a/blobs"), digest),
        ),
        (
            "/v2/v2/blobs/uploads/".to_owned(),
            Route::Uploads(name("v2")),
        ),
    ] {
        assert_eq!(parse(&path), Ok(route), "{path}");
    }
}

#[test]
fn every_spelling_is_the_plain_route_or_none() {
    let digest: Digest = DIGEST.parse().unwrap();
    let blob = Ok(Route::Blob(name("a/b"), digest));
    let escaped = DIGEST.replace(':', "%3A");
    for path in [
        format!("/v2/a/b/blobs/{escaped}"),
        format!("/v2/%61/b/blobs/{DIGEST}"),
        format!("/v2/a/b/%62lobs/{DIGEST}"),
        format!("/%76%32/a/b/blobs/{DIGEST}"),
    ] {
        assert_eq!(parse(&path), blob, "{path}");
    }
    for path in [
        format!("/v2/a%2Fb/blobs/{DIGEST}"),
        format!("/v2/a%2fb/blobs/{DIGEST}"),
        format!("/v2/a//b/blobs/{DIGEST}"),
        format!("/v2//a/b/blobs/{DIGEST}"),
        format!("//v2/a/b/blobs/{DIGEST}"),
        format!("/v2/a/./b/blobs/{DIGEST}"),
        format!("/v2/a/../a/b/blobs/{DIGEST}"),
        format!("/v2/a/%2e%2e/a/b/blobs/{DIGEST}"),
        format!("/v2/a/%2E./b/blobs/{DIGEST}"),
        format!("/v2/a/b;x/blobs/{DIGEST}"),
        format!("/v2/a/b/blobs;x/{DIGEST}"),
        format!("/v2/a/b/blobs/{DIGEST};x"),
        format!("/v2/a/b/blobs/{DIGEST}/"),
        format!("/v2/a/b/blobs/{DIGEST}%00"),
        format!("/v2/a/b/blobs/%20{DIGEST}"),
        format!("/v2/a\\b/blobs/{DIGEST}"),
        format!("/v2/a/%62%00/blobs/{DIGEST}"),
        format!("/v2/a/%ff/blobs/{DIGEST}"),
        format!("/v2/a/%2561/blobs/{DIGEST}"),
        format!("/V2/a/b/blobs/{DIGEST}"),
        format!("/v2/a/b/Blobs/{DIGEST}"),
        format!("/v2/A/b/blobs/{DIGEST}"),
        format!("/v2/blobs/{DIGEST}"),
        "/v2/_catalog/".to_owned(),
        "/v2//_catalog".to_owned(),
        "/v2/%5fcatalog%2f".to_owned(),
        "/v2//".to_owned(),
        "/v2/tags/list".to_owned(),
        "/v2/a/tags/list/".to_owned(),
        "/v2/a/manifests/".to_owned(),
        "/v2/a/manifests/a%2fb".to_owned(),
        "/v2/a/manifests/..".to_owned(),
        "/v2/a/blobs/uploads/../x".to_owned(),
        "/v2/a/blobs/uploads/..%2fx".to_owned(),
        "/v2/a/blobs/uploads/x".to_owned(),
        "/v2/a/blobs/uploads//".to_owned(),
        "/v2/a".to_owned(),
        "/v2a".to_owned(),
        "/".to_owned(),
        "".to_owned(),
        "*".to_owned(),
        "/healthz/".to_owned(),
        "/v1/".to_owned(),
    ] {
        assert!(parse(&path).is_err(), "{path} is {:?}", parse(&path));
    }
}

#[test]
fn escaped_catalog_is_the_catalog() {
    assert_eq!(parse("/v2/%5Fcatalog"), Ok(Route::Catalog));
}

#[test]
fn a_name_of_256_bytes_is_refused_as_a_name() {
    let longest = "a".repeat(255);
    assert_eq!(
        parse(&format!("/v2/{longest}/tags/list")),
        Ok(Route::Tags(name(&longest)))
    );
    assert!(matches!(
        parse(&format!("/v2/{longest}a/tags/list")),
        Err(RouteError::Name(_))
    ));
}

#[test]
fn what_is_needed_follows_the_method() {
    let needs = |path: &str, method| match Route::parse(path).unwrap().needs(&method) {
        Need::Any(actions, name) => {
            assert_eq!(name.as_str(), "a");
            Some(actions)
        }
        _ => None,
    };
    let (pull, delete) = (Some(Action::Pull.into()), Some(Action::Delete.into()));
    let push = Some(Actions::PUSH);
    let blob = format!("/v2/a/blobs/{DIGEST}");
    assert_eq!(needs(&blob, Method::HEAD), pull);
    assert_eq!(needs(&blob, Method::DELETE), delete);
    assert_eq!(needs("/v2/a/manifests/t", Method::GET), pull);
    assert_eq!(needs("/v2/a/manifests/t", Method::PUT), push);
    assert_eq!(needs("/v2/a/manifests/t", Method::DELETE), delete);
    assert_eq!(needs("/v2/a/tags/list", Method::GET), pull);
    let referrers = format!("/v2/a/referrers/{DIGEST}");
    assert_eq!(needs(&referrers, Method::GET), pull);
    let upload = format!("/v2/a/blobs/uploads/{}", UploadId::random());
    for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
        assert_eq!(needs(&upload, method), push);
    }
    for (path, need) in [
        ("/v2/_catalog", Need::Listing),
        ("/v2/", Need::Login),
        ("/healthz", Need::Nothing),
    ] {
        assert_eq!(Route::parse(path).unwrap().needs(&Method::GET), need);
    }
}

#[test]
fn the_allowed_methods_are_those_of_the_specification() {
    let blob = Route::parse(&format!("/v2/a/blobs/{DIGEST}")).unwrap();
    assert!(blob.allows(&Method::DELETE) && !blob.allows(&Method::PUT));
    let uploads = Route::parse("/v2/a/blobs/uploads/").unwrap();
    assert!(uploads.allows(&Method::POST) && !uploads.allows(&Method::GET));
}
