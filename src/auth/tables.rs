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

/// All tables of this layer, for the schema page and for whoever checks the index.
pub const TABLES: [TableInfo; 2] = [ACCOUNTS.info(), POLICY.info()];

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
        let rule = PolicyRow { rule: "ab".into() };
        assert_eq!(codec::encode(&rule).unwrap(), [1, 2, b'a', b'b']);
    }
}
