//! The tables of accounts, tokens and policy.
//!
//! What is secret is there as a hash alone: passwords by argon2id, tokens, which are random and long,
//! by SHA-256. Times are milliseconds since 1970.

use serde::{Deserialize, Serialize};

use super::name::Name;
use crate::ghostbay::catalog::{Key, KeyReader, KeyWriter, Table, TableInfo, Value};

/// Accounts, by name.
pub const ACCOUNTS: Table<Name, AccountRow> = Table::new(0x40, "accounts");
/// The rules of the policy that are not in the configuration, in the order of their numbers.
pub const POLICY: Table<RuleNumber, PolicyRow> = Table::new(0x41, "policy");

/// Tokens, by name.
pub const TOKENS: Table<Name, TokenRow> = Table::new(0x42, "tokens");
/// When each token was last used, if it was.
pub const TOKEN_USES: Table<Name, TokenUseRow> = Table::new(0x43, "token_uses");

/// All tables of this layer, for the schema page and for whoever checks the index.
pub const TABLES: [TableInfo; 4] = [
    ACCOUNTS.info(),
    POLICY.info(),
    TOKENS.info(),
    TOKEN_USES.info(),
];

impl Key for Name {
    const LAYOUT: &'static str = "name text";

    fn encode(&self, out: &mut KeyWriter) {
        out.text(self.as_str());
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        input.text()?.parse().ok()
    }
}

/// An account.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// The hash of its password, as a PHC string.
    pub password: String,
    /// The groups that it belongs to.
    pub groups: Vec<String>,
    /// Whether it can be used at all.
    pub disabled: bool,
    /// Whether its password is the one that the first start made up.
    pub initial: bool,
    /// Another number with every change of the password or the state: what was given to the account
    /// before does not hold any more.
    pub stamp: u64,
    /// When it was made.
    pub created_ms: u64,
    /// When it was last changed.
    pub changed_ms: u64,
}

impl Value for AccountRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "password text, groups [text], disabled bool, initial bool, \
                                  stamp u64, created_ms u64, changed_ms u64";
}

/// The place of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleNumber(pub u32);

impl Key for RuleNumber {
    const LAYOUT: &'static str = "number u32";

    fn encode(&self, out: &mut KeyWriter) {
        out.u32(self.0);
    }

    fn decode(input: &mut KeyReader<'_>) -> Option<Self> {
        input.u32().map(RuleNumber)
    }
}

/// A rule of the policy.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PolicyRow {
    /// The rule as text: `allow group:dev pull,push team/**`.
    pub rule: String,
}

impl Value for PolicyRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "rule text";
}

/// The bit of a token's actions that makes it an access key: what is kept as its secret is random, and the
/// secret is derived from it. A build that knows no access keys takes such a token for none.
pub const ACCESS_KEY_BIT: u8 = 64;

/// A token.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// SHA-256 of its secret.
    pub secret: [u8; 32],
    /// The account that it was made for, and never may do more than; without one it may do what it
    /// was made for, unless a rule denies it.
    pub owner: Option<String>,
    /// What it was made for, as bits: 1 pull, 2 push-new, 4 overwrite, 8 delete, 16 admin, 32 metrics; and
    /// [`ACCESS_KEY_BIT`]. The layout below lacks the last two: the page of schema version 4 was written of
    /// it, and is frozen.
    pub actions: u8,
    /// The patterns of repositories and objects that it was made for.
    pub repositories: Vec<String>,
    /// When it was made.
    pub created_ms: u64,
    /// When it ends, if it does.
    pub expires_ms: Option<u64>,
}

impl Value for TokenRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "secret 32 bytes, owner option(text), actions u8 (1 pull, 2 push-new, \
                                  4 overwrite, 8 delete, 16 admin), repositories [text], \
                                  created_ms u64, expires_ms option(u64)";
}

/// That a token was used.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TokenUseRow {
    /// When it was last, to a minute.
    pub used_ms: u64,
}

impl Value for TokenUseRow {
    const VERSION: u8 = 1;
    const LAYOUT: &'static str = "used_ms u64";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghostbay::catalog::codec;

    #[test]
    fn the_bytes_of_the_rows_are_pinned() {
        let account = AccountRow {
            password: "$a".into(),
            groups: vec!["g".into()],
            disabled: false,
            initial: true,
            stamp: 300,
            created_ms: 1,
            changed_ms: 2,
        };
        let bytes = codec::encode(&account).unwrap();
        let golden = [1, 2, b'$', b'a', 1, 1, b'g', 0, 1, 251, 44, 1, 1, 2];
        assert_eq!(bytes, golden);
        let token = TokenRow {
            secret: [7; 32],
            owner: Some("a".into()),
            actions: 3,
            repositories: vec!["r".into()],
            created_ms: 5,
            expires_ms: None,
        };
        let bytes = codec::encode(&token).unwrap();
        assert_eq!(bytes[..33], [&[1][..], &[7; 32]].concat());
        assert_eq!(bytes[33..], [1, 1, b'a', 3, 1, 1, b'r', 5, 0]);
        assert_eq!(codec::encode(&TokenUseRow { used_ms: 9 }).unwrap(), [1, 9]);
        let rule = PolicyRow { rule: "ab".into() };
        assert_eq!(codec::encode(&rule).unwrap(), [1, 2, b'a', b'b']);
    }
}
