//! What a client presents: headers, scopes and signed tokens. Nothing that was not signed here lets
//! anybody in.
#![no_main]

use std::sync::Arc;
use std::sync::OnceLock;

use drift::auth::credentials::Credentials;
use drift::auth::scope::{REPOSITORIES_MAX, Scope};
use drift::auth::{AuthOptions, AuthService, Authority, BadLogins};
use drift::ghostbay::LocalStorageEngine;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

fn service() -> &'static (Runtime, AuthService) {
    static SERVICE: OnceLock<(Runtime, AuthService)> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let directory = std::env::temp_dir().join(format!("drift-fuzz-{}", std::process::id()));
        let authority = runtime.block_on(async {
            let storage = LocalStorageEngine::new(&directory).await.unwrap();
            let options = AuthOptions {
                keys: directory.join("keys"),
                rules: Vec::new(),
                htpasswd: None,
                clients: Vec::new(),
                token_lifetime: std::time::Duration::from_secs(300),
                bad_logins: BadLogins::default(),
                issuers: Vec::new(),
                trust: Vec::new(),
            };
            let authority = Authority::open(storage.catalog().clone(), options).unwrap();
            authority.begin().await.unwrap();
            authority
        });
        (runtime, AuthService::with(Arc::new(authority)))
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(scope) = Scope::parse([text]) {
        assert!(scope.repositories.len() <= REPOSITORIES_MAX);
        let none = scope.narrowed(|_, _| false);
        assert!(none.repositories.is_empty());
    }
    let (runtime, service) = service();
    match Credentials::parse(text) {
        // A password costs what it is to cost: that is not for here.
        Some(Credentials::Basic { .. }) => {}
        Some(Credentials::Bearer(_)) => {
            assert!(runtime.block_on(service.check(Some(text), None)).is_err());
        }
        None => assert!(runtime.block_on(service.check(Some(text), None)).is_err()),
    }
    let bearer = format!("Bearer {text}");
    assert!(
        runtime
            .block_on(service.check(Some(&bearer), None))
            .is_err()
    );
});
