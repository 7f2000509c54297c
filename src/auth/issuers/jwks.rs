//! The public keys of an issuer, as it publishes them (RFC 7517).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Most keys that an issuer may have.
const KEYS_MAX: usize = 100;

/// Longest id of a key, in bytes.
const KEY_ID_BYTES_MAX: usize = 512;

/// The shortest and longest modulus of an RSA key, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Longest exponent of an RSA key, in bytes.
const EXPONENT_BYTES_MAX: usize = 4;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A key.
pub struct Key {
    id: String,
    /// What it may be used with, and nothing else: which that is the key says, never a token.
    algorithms: Vec<Algorithm>,
    verifies: DecodingKey,
}

impl Key {
    /// Whether it may be used with that algorithm.
    pub fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// To verify with.
    pub fn verifies(&self) -> &DecodingKey {
        &self.verifies
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} for {:?}", self.id, self.algorithms)
    }
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Why others that stand among them are not taken.
    pub refused: Vec<String>,
}

/// What was answered is no list of keys.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON with a list `keys`.
    #[error("the answer is no JSON object with a list \"keys\"")]
    Form,
    /// There are too many.
    #[error("there are {0} keys, {KEYS_MAX} are the most")]
    TooMany(usize),
    /// None of them can be used.
    #[error("there is no key among them that can be used: {0}")]
    None(String),
}

/// What is read of a key. Everything else is passed over, certificates as well: the keys are believed
/// because of the host that they come from.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads it. A key that cannot be used is left out, and the others stay.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|_| KeySetError::Form)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(set.keys.len()));
        }
        let mut read = KeySet::default();
        for (json, number) in set.keys.into_iter().zip(1..) {
            match key(json) {
                Ok(key) if read.of(&key.id).is_some() => {
                    read.refused
                        .push(format!("key {number}: its kid is another's"));
                }
                Ok(key) => read.keys.push(key),
                Err(reason) => read.refused.push(format!("key {number}: {reason}")),
            }
        }
        match read.keys.is_empty() {
            true => Err(KeySetError::None(read.refused.join("; "))),
            false => Ok(read),
        }
    }

    /// The key of that id.
    pub fn of(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn key(json: Value) -> Result<Key, &'static str> {
    let written: Written =
        serde_json::from_value(json).map_err(|_| "it has not the form of a key")?;
    let id = written.kid.as_deref().unwrap_or_default();
    if id.is_empty() || id.len() > KEY_ID_BYTES_MAX {
        return Err("it has no kid, or one of more than 512 bytes");
    }
    if written.purpose.as_deref().is_some_and(|it| it != "sig") {
        return Err("its use is not sig");
    }
    let operations = written.key_ops.as_ref();
    if operations.is_some_and(|them| !them.iter().any(|it| it == "verify")) {
        return Err("verify is not among its key_ops");
    }
    let (possible, verifies) = match (written.kty.as_str(), written.crv.as_deref()) {
        ("RSA", _) => (RSA, rsa(&written)?),
        ("EC", Some("P-256")) => (&[Algorithm::ES256][..], ec(&written, 32)?),
        ("EC", Some("P-384")) => (&[Algorithm::ES384][..], ec(&written, 48)?),
        ("OKP", Some("Ed25519")) => (&[Algorithm::EdDSA][..], ed(&written)?),
        _ => return Err("its kty and crv are none of RSA, EC P-256, EC P-384 and OKP Ed25519"),
    };
    let algorithms: Vec<_> = match written.alg.as_deref() {
        None => possible.to_vec(),
        Some(alg) => {
            let own = alg.parse::<Algorithm>();
            possible
                .iter()
                .copied()
                .filter(|it| own.as_ref() == Ok(it))
                .collect()
        }
    };
    match algorithms.is_empty() {
        true => Err("its alg is none that goes with its kty"),
        false => Ok(Key {
            id: id.to_owned(),
            algorithms,
            verifies,
        }),
    }
}

/// A number or point as a key has it: base64url without padding.
fn bytes(text: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

fn rsa(written: &Written) -> Result<DecodingKey, &'static str> {
    let number = |text| {
        let bytes = bytes(text)?;
        let leading = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(bytes[leading..].to_vec())
    };
    let modulus = number(written.n.as_ref()).ok_or("its n is no number")?;
    let exponent = number(written.e.as_ref()).ok_or("its e is no number")?;
    let top = modulus
        .first()
        .map_or(8, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&(8 * modulus.len()).saturating_sub(top)) {
        return Err("its modulus has not 2048 to 8192 bits");
    }
    let is_odd = exponent.last().is_some_and(|last| last & 1 == 1);
    if !is_odd || exponent == [1] || exponent.len() > EXPONENT_BYTES_MAX {
        return Err("its exponent is even, 1 or longer than 32 bits");
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn ec(written: &Written, length: usize) -> Result<DecodingKey, &'static str> {
    let coordinate = |text| bytes(text).filter(|bytes| bytes.len() == length);
    match (
        coordinate(written.x.as_ref()),
        coordinate(written.y.as_ref()),
    ) {
        (Some(x), Some(y)) => {
            // An uncompressed point (SEC 1, 2.3.3).
            let point = [&[4][..], &x, &y].concat();
            Ok(DecodingKey::from_ec_der(&point))
        }
        _ => Err("its x and y are no point of its curve"),
    }
}

fn ed(written: &Written) -> Result<DecodingKey, &'static str> {
    let point = bytes(written.x.as_ref()).filter(|bytes| bytes.len() == 32);
    let point = point.ok_or("its x has not 32 bytes")?;
    Ok(DecodingKey::from_ed_der(&point))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xff; bytes])
    }

    fn parse(keys: Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_key_is_for_what_it_says_and_no_algorithm_of_another_kind() {
        let rsa = json!({ "kty": "RSA", "kid": "r", "n": number(256), "e": "AQAB", "use": "sig" });
        let mut narrow = rsa.clone();
        narrow["kid"] = json!("n");
        narrow["alg"] = json!("PS384");
        let p256 =
            json!({ "kty": "EC", "kid": "e", "crv": "P-256", "x": number(32), "y": number(32) });
        let p384 =
            json!({ "kty": "EC", "kid": "f", "crv": "P-384", "x": number(48), "y": number(48) });
        let ed = json!({ "kty": "OKP", "kid": "o", "crv": "Ed25519", "x": number(32), "key_ops": ["verify"] });
        let set = parse(json!([rsa, narrow, p256, p384, ed])).unwrap();
        assert!(set.refused.is_empty(), "{:?}", set.refused);
        let all = [
            Algorithm::HS256,
            Algorithm::HS384,
            Algorithm::HS512,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ];
        for (id, takes) in [
            ("r", &all[6..]),
            ("n", &[Algorithm::PS384]),
            ("e", &[Algorithm::ES256]),
            ("f", &[Algorithm::ES384]),
            ("o", &[Algorithm::EdDSA]),
        ] {
            let key = set.of(id).unwrap();
            for algorithm in all {
                assert_eq!(
                    key.takes(algorithm),
                    takes.contains(&algorithm),
                    "{id} {algorithm:?}"
                );
            }
        }
        assert!(set.of("R").is_none() && set.of("").is_none());
    }

    #[test]
    fn a_key_that_cannot_be_used_is_left_out_and_the_others_stay() {
        let good = json!({ "kty": "RSA", "kid": "good", "n": number(256), "e": "AQAB" });
        let with = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed["kid"] = json!("other");
            changed[key] = value;
            changed
        };
        for (what, refused) in [
            ("a shared kid", with("kid", json!("good"))),
            ("no kid", with("kid", json!(null))),
            ("an empty kid", with("kid", json!(""))),
            ("a long kid", with("kid", json!("k".repeat(513)))),
            ("to encrypt with", with("use", json!("enc"))),
            ("to sign with", with("key_ops", json!(["sign"]))),
            ("HMAC", with("alg", json!("HS256"))),
            ("none", with("alg", json!("none"))),
            ("another kind's", with("alg", json!("ES256"))),
            ("to encrypt with, by alg", with("alg", json!("RSA-OAEP"))),
            (
                "a secret",
                json!({ "kty": "oct", "kid": "other", "k": number(32) }),
            ),
            ("2040 bits", with("n", json!(number(255)))),
            ("2040 bits and zeros", {
                let mut bytes = vec![0; 100];
                bytes.extend([0xff; 255]);
                with("n", json!(URL_SAFE_NO_PAD.encode(bytes)))
            }),
            ("8200 bits", with("n", json!(number(1025)))),
            ("no n", with("n", json!(null))),
            ("an even e", with("e", json!("AQAC"))),
            ("an e of 1", with("e", json!("AQ"))),
            ("an e of nothing", with("e", json!(""))),
            ("a huge e", with("e", json!(number(5)))),
            ("padding", with("e", json!("AQAB="))),
            (
                "a short x",
                json!({ "kty": "OKP", "kid": "other", "crv": "Ed25519", "x": number(31) }),
            ),
            (
                "another curve",
                json!({ "kty": "OKP", "kid": "other", "crv": "Ed448", "x": number(57) }),
            ),
            (
                "P-521",
                json!({ "kty": "EC", "kid": "other", "crv": "P-521", "x": number(66), "y": number(66) }),
            ),
            (
                "no y",
                json!({ "kty": "EC", "kid": "other", "crv": "P-256", "x": number(32) }),
            ),
            ("text", json!("key")),
        ] {
            let set = parse(json!([good, refused])).unwrap();
            assert_eq!((set.len(), set.refused.len()), (1, 1), "{what}");
            assert!(
                parse(json!([refused])).is_err() || what == "a shared kid",
                "{what}"
            );
        }
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused() {
        for text in [
            "",
            "<html>",
            "[]",
            "{}",
            "{\"keys\":{}}",
            "{\"keys\":[]}",
            "\u{ff}",
        ] {
            assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
        }
        let many: Vec<_> = (0..=KEYS_MAX)
            .map(|n| json!({ "kty": "RSA", "kid": n.to_string(), "n": number(256), "e": "AQAB" }))
            .collect();
        assert_eq!(
            parse(json!(many)).unwrap_err(),
            KeySetError::TooMany(KEYS_MAX + 1)
        );
        assert_eq!(parse(json!(many[1..])).unwrap().len(), KEYS_MAX);
    }
}
