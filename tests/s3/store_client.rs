//! The `object_store` crate as a client.

use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use crate::s3_client::Place;

fn client(place: &Place) -> AmazonS3 {
    let key = place.admin();
    AmazonS3Builder::new()
        .with_endpoint(format!("http://{}", place.address))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name("bucket")
        .with_access_key_id(key.id)
        .with_secret_access_key(key.secret)
        .build()
        .unwrap()
}

#[tokio::test]
async fn the_object_store_crate_stores_lists_copies_and_deletes() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let store = client(&place);
    let path = Path::from("a b/ü.txt");
    store
        .put(&path, PutPayload::from_static(b"hello"))
        .await
        .unwrap();
    let create = PutOptions::from(PutMode::Create);
    let again = store
        .put_opts(&path, PutPayload::from_static(b"x"), create)
        .await;
    assert!(
        matches!(again, Err(object_store::Error::AlreadyExists { .. })),
        "{again:?}"
    );
    assert_eq!(store.get_range(&path, 1..3).await.unwrap(), "el");
    let copy = Path::from("copy");
    let options = CopyOptions::new().with_mode(CopyMode::Overwrite);
    store.copy_opts(&path, &copy, options).await.unwrap();
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let names: Vec<_> = listed.iter().map(|it| it.location.to_string()).collect();
    assert_eq!(names, [path.to_string(), copy.to_string()]);
    let level = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(level.common_prefixes.len(), 1);

    let mut upload = store.put_multipart(&Path::from("big")).await.unwrap();
    let part = vec![7u8; 6 << 20];
    for _ in 0..3 {
        upload.put_part(part.clone().into()).await.unwrap();
    }
    upload.complete().await.unwrap();
    let big = store
        .get(&Path::from("big"))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(big.len(), 18 << 20);
    assert!(big.iter().all(|byte| *byte == 7));
    for name in [path, copy, Path::from("big")] {
        store.delete(&name).await.unwrap();
    }
    assert!(store.list(None).try_next().await.unwrap().is_none());
}
