//! What a client is told of failures.

use http_body_util::BodyExt;

use super::*;
use crate::ghostbay::StorageError;

async fn answer(error: impl Into<ApiError>) -> (u16, String) {
    let response = error.into().into_response();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn failed(kind: io::ErrorKind) -> RegistryError {
    let source = io::Error::new(kind, "secret detail");
    RegistryError::Storage(StorageError::Write(Arc::new(source)))
}

#[tokio::test]
async fn a_failure_of_ours_is_500_and_says_nothing_of_its_cause() {
    let bucket = "secret".to_owned();
    let ours = RegistryError::Storage(StorageError::NoSuchBucket { bucket });
    let (status, body) = answer(ours).await;
    assert_eq!(status, 500);
    assert!(
        !body.contains("secret") && body.contains("X-Request-Id"),
        "{body}"
    );
}

#[tokio::test]
async fn a_failing_disk_is_503() {
    let (status, body) = answer(failed(io::ErrorKind::PermissionDenied)).await;
    assert_eq!(status, 503);
    assert!(!body.contains("secret"), "{body}");
}

#[tokio::test]
async fn a_full_disk_is_507() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let (status, body) = answer(failed(kind)).await;
        assert_eq!(status, 507);
        assert!(!body.contains("secret"), "{body}");
    }
    let error = StorageError::File {
        what: "writing",
        path: "/secret".into(),
        source: io::ErrorKind::StorageFull.into(),
    };
    let (status, body) = answer(RegistryError::Storage(error)).await;
    assert_eq!(status, 507);
    assert!(!body.contains("secret"), "{body}");
}

#[test]
fn causes_are_said_once() {
    let inner = io::Error::other("inner");
    let error = StorageError::File {
        what: "opening",
        path: "a".into(),
        source: inner,
    };
    let error = anyhow::Error::new(error).context("outer");
    assert_eq!(causes(error.as_ref()), "outer: opening a: inner");
}

#[test]
fn the_range_of_an_upload_ends_at_its_last_byte() {
    assert_eq!(upload_range(1000), "0-999");
    assert_eq!(upload_range(1), "0-0");
    assert_eq!(upload_range(0), "0-0");
}
