//! Objects and uploads that end by age, in the server that the configuration tells so.

use std::time::Duration;

use crate::multipart::begin;
use crate::s3_client::{Place, ask};
use crate::support::Server;

const RULES: &str = "[{ bucket = \"bucket\", prefix = \"young/\", expire_after = \"1h\", abort_after = \"1h\" }, \
     { bucket = \"bucket\", prefix = \"old/\", expire_after = \"1s\", abort_after = \"1s\" }]";

#[tokio::test]
async fn what_has_the_age_ends_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let start = |rules: &str| {
        let server = Server::builder().directory(directory.path()).variables(&[
            ("DRIFT_S3_ENABLED", "true"),
            ("DRIFT_S3_PORT", "0"),
            ("DRIFT_AUTH_ENABLED", "true"),
            ("DRIFT_S3_LIFECYCLE", rules),
        ]);
        let server = server.start();
        let place = Place::beside(&server);
        (server, place)
    };
    let (mut server, place) = start("[]");
    let admin = place.admin();
    place.put(&admin, "/bucket", "").await.expect(200);
    for key in ["old/x", "young/x", "other"] {
        let path = format!("/bucket/{key}");
        place.put(&admin, &path, "content").await.expect(200);
        begin(&place, &admin, &path).await;
    }
    server.signal("TERM");
    assert!(server.wait().success());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (_server, place) = start(RULES);
    let listed = loop {
        let listed = place.get(&admin, "/bucket").await.expect(200).text();
        let uploads = ask("GET", "/bucket").query("uploads", "");
        let uploads = place.call(&admin, uploads).await.expect(200).text();
        if !listed.contains("old/x") && !uploads.contains("old/x") {
            break listed + &uploads;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for kept in ["young/x", "other"] {
        let key = format!("<Key>{kept}</Key>");
        assert_eq!(listed.matches(&key).count(), 2, "{listed}");
    }
}
