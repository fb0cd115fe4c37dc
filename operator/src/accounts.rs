//! A namespace is an account: which number each has.
//!
//! Pure. The number is what the administrator configured, or sha256(namespace UID) mod 10^12, so
//! that it never changes and needs no memory. Of two namespaces with one number the older has it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use millstream_types::AccountId;
use sha2::{Digest as _, Sha256};

/// Account numbers have twelve digits.
const ACCOUNTS: u64 = 1_000_000_000_000;

/// A namespace, as far as its account depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceView {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// What account a namespace has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// This one.
    Own(AccountId),
    /// None: an older namespace has its number.
    Taken {
        /// The number.
        account: AccountId,
        /// The namespace that has it.
        by: String,
    },
}

impl Account {
    /// The number, if the namespace has it.
    #[must_use]
    pub const fn own(&self) -> Option<&AccountId> {
        match self {
            Self::Own(account) => Some(account),
            Self::Taken { .. } => None,
        }
    }
}

/// The account of every namespace. A configured number goes before a derived one, then the older
/// namespace goes first.
#[must_use]
pub fn assign(
    namespaces: &[NamespaceView],
    configured: &BTreeMap<String, String>,
) -> BTreeMap<String, Account> {
    let given = |view: &NamespaceView| -> Option<AccountId> {
        configured
            .get(&view.name)
            .and_then(|text| text.parse().ok())
    };
    let mut order: Vec<&NamespaceView> = namespaces.iter().collect();
    order.sort_by_key(|view| (given(view).is_none(), view.created, view.uid.clone()));
    let mut holders: BTreeMap<AccountId, &str> = BTreeMap::new();
    let mut accounts = BTreeMap::new();
    for view in order {
        let account = given(view).unwrap_or_else(|| derived(&view.uid));
        let verdict = match holders.get(&account) {
            Some(by) => Account::Taken {
                account,
                by: (*by).to_owned(),
            },
            None => {
                holders.insert(account.clone(), &view.name);
                Account::Own(account)
            },
        };
        accounts.insert(view.name.clone(), verdict);
    }
    accounts
}

/// sha256 of the UID, as one number, mod 10^12.
#[must_use]
pub fn derived(uid: &str) -> AccountId {
    let mut number = 0_u64;
    for byte in Sha256::digest(uid.as_bytes()) {
        // under 10^12 * 256 + 256, far under 2^64
        number = (number * 256 + u64::from(byte)) % ACCOUNTS;
    }
    let digits = format!("{number:012}");
    digits.parse().expect("twelve digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, uid: &str, created: i64) -> NamespaceView {
        NamespaceView {
            name: name.to_owned(),
            uid: uid.to_owned(),
            created: Timestamp::from_second(created).ok(),
        }
    }

    #[test]
    fn the_number_is_the_digest_mod_ten_to_the_twelfth() {
        // int(hashlib.sha256(uid).hexdigest(), 16) % 10**12, by another program
        let uid = "6f0c0a2e-4a0a-4f3e-9a54-0a1b2c3d4e5f";
        assert_eq!(derived(uid).as_str(), DERIVED);
        assert_eq!(derived("").as_str(), DERIVED_OF_NOTHING);
    }

    const DERIVED: &str = "577851871220";
    const DERIVED_OF_NOTHING: &str = "115665086549";

    #[test]
    fn on_a_collision_the_younger_namespace_has_none() {
        let configured = BTreeMap::from([("young".to_owned(), derived("u1").to_string())]);
        let accounts = assign(&[view("a", "u1", 1), view("young", "u2", 9)], &configured);
        // what the administrator wrote goes before what is derived
        assert_eq!(accounts["young"].own(), Some(&derived("u1")));
        assert_eq!(
            accounts["a"],
            Account::Taken {
                account: derived("u1"),
                by: "young".to_owned()
            }
        );
        let twins = assign(
            &[view("new", "u", 9), view("old", "u", 1)],
            &BTreeMap::new(),
        );
        assert!(twins["old"].own().is_some());
        assert_eq!(twins["new"].own(), None);
    }
}
