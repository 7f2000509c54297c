//! What an issuer publishes, what comes as its token, and the patterns that an operator holds against it.
#![no_main]

use drift::auth::issuers::{
    ClaimPattern, Conditions, HttpsUrl, KeySet, Trust, claimed_issuer, header, keys_url,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Ok(keys) = KeySet::parse(data) {
        assert!(!keys.is_empty() && keys.len() <= 100);
    }
    let issuer: HttpsUrl = "https://a.example.com".parse().unwrap();
    if let Ok(url) = keys_url(&issuer, data) {
        assert!(url.as_str().starts_with("https://"));
        let described: Value = serde_json::from_slice(data).unwrap();
        assert_eq!(described["issuer"], issuer.as_str());
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(url) = text.parse::<HttpsUrl>() {
        assert_eq!(url.as_str(), text);
        assert!(!text.contains(['#', '@', ' ', '\\']) || text.split('/').nth(2).is_some());
    }
    claimed_issuer(text);
    if let Ok((header, kid)) = header(text) {
        assert!(!kid.is_empty() && !format!("{:?}", header.alg).starts_with("HS"));
    }
    if let Ok(pattern) = text.parse::<ClaimPattern>() {
        assert_eq!(pattern.as_str(), text);
        if !pattern.has_wildcard() {
            assert!(pattern.fits(text) && !pattern.fits(&format!("{text}x")));
        }
    }
    let Some((first, rest)) = text.split_once('\n') else {
        return;
    };
    if let Ok(pattern) = first.parse::<ClaimPattern>()
        && pattern.fits(rest)
    {
        let (before, after) = (
            pattern.before_wildcards(),
            first.rsplit('*').next().unwrap(),
        );
        assert!(rest.starts_with(before) && rest.ends_with(after));
        assert!(rest.len() >= first.bytes().filter(|byte| *byte != b'*').count());
    }
    if let (Ok(conditions), Ok(claims)) = (
        serde_json::from_str::<Conditions>(first),
        serde_json::from_str::<Value>(rest),
    ) && conditions.hold(&claims)
    {
        // None at all hold for anything; each of some is about a claim that is there.
        assert!(conditions.0.is_empty() || claims.is_object() || claims.is_array());
        let json = serde_json::to_string(&conditions).unwrap();
        assert!(
            serde_json::from_str::<Conditions>(&json)
                .unwrap()
                .hold(&claims)
        );
    }
    if let Ok(trust) = serde_json::from_str::<Trust>(first) {
        let checked = trust.check([&trust.issuer]);
        assert!(checked.is_err() || !trust.claims.0.is_empty());
        assert_eq!(trust.stamp(rest), trust.clone().stamp(rest));
    }
});
