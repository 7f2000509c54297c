//! Conditions on reads and writes, also of those who write at once.

use crate::s3_client::{Place, ask};

#[tokio::test]
async fn of_writers_who_want_a_key_to_be_free_one_wins() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    for round in 0..5 {
        let path = format!("/bucket/lock-{round}");
        let writers = (0..8).map(|writer| {
            let put = ask("PUT", &path)
                .header("if-none-match", "*")
                .body(format!("writer {writer}"));
            place.call(&admin, put)
        });
        let answers = futures::future::join_all(writers).await;
        let won: Vec<_> = answers.iter().map(|it| it.status.as_u16()).collect();
        assert_eq!(won.iter().filter(|it| **it == 200).count(), 1, "{won:?}");
        assert_eq!(won.iter().filter(|it| **it == 412).count(), 7, "{won:?}");
    }
}

#[tokio::test]
async fn writes_and_reads_go_by_what_is_there() {
    let place = Place::new(&[], &[]);
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    let if_match = |tag: &str| ask("PUT", "/bucket/x").header("if-match", tag).body("new");
    place
        .call(&admin, if_match("\"0123456789abcdef0123456789abcdef\""))
        .await
        .refused(404, "NoSuchKey");
    let old = place.put(&admin, "/bucket/x", "old").await.expect(200);
    let old = old.header("etag").to_owned();
    assert_eq!(old, "\"149603e6c03516362a8da23f624db945\"");
    place.call(&admin, if_match(&old)).await.expect(200);
    place
        .call(&admin, if_match(&old))
        .await
        .refused(412, "PreconditionFailed");
    let got = place.get(&admin, "/bucket/x").await.expect(200);
    assert_eq!(got.text(), "new");
    let new = got.header("etag").to_owned();
    let date = got.header("last-modified").to_owned();
    for (header, value, status) in [
        ("if-match", new.as_str(), 200),
        ("if-match", &old, 412),
        ("if-none-match", &new, 304),
        ("if-none-match", &old, 200),
        ("if-modified-since", &date, 304),
        ("if-unmodified-since", &date, 200),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
    ] {
        for method in ["GET", "HEAD"] {
            let asked = ask(method, "/bucket/x").header(header, value);
            let answer = place.call(&admin, asked).await.expect(status);
            if status == 304 {
                assert!(answer.body.is_empty());
                assert_eq!(answer.header("etag"), new);
            }
        }
    }
    let delete = |tag: &str| ask("DELETE", "/bucket/x").header("if-match", tag);
    place
        .call(&admin, delete(&old))
        .await
        .refused(412, "PreconditionFailed");
    place.call(&admin, delete(&new)).await.expect(204);
}
