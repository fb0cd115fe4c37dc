//! Access keys from Secrets: which are used, and which are refused and why.
//!
//! Pure. A Secret with the label `millstream.dev/access-key: "true"` and the data `id` and `secret`
//! is a key of its namespace's account. A key that two Secrets name belongs to the older one, so
//! that no namespace can take over another's key; and no namespace has more than its share of them,
//! so that none fills the room of all.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret as SecretObject;
use k8s_openapi::jiff::Timestamp;
use millstream_control::desired::AccessKey;
use millstream_control::secret::Secret;

use crate::accounts::Account;

/// Shortest and longest id, as AWS has it.
const ID_CHARS: std::ops::RangeInclusive<usize> = 16..=128;
/// Shortest secret, in characters.
const SECRET_CHARS_MIN: usize = 8;
/// Longest secret, in characters.
const SECRET_CHARS_MAX: usize = 256;
/// Most keys in all namespaces together.
pub const KEYS_MAX: usize = 10_000;
/// Most keys of one namespace.
pub const NAMESPACE_KEYS_MAX: usize = 1_000;

/// A Secret that is not used as a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why, without the key.
    pub reason: String,
}

/// The keys of these Secrets, by id, and the Secrets that give none.
#[must_use]
pub fn read(
    secrets: &[&SecretObject],
    accounts: &BTreeMap<String, Account>,
) -> (Vec<AccessKey>, Vec<Refused>) {
    let mut order: Vec<&SecretObject> = secrets.to_vec();
    order.sort_by_key(|secret| age(secret));
    let mut keys: BTreeMap<String, AccessKey> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut refused = Vec::new();
    for secret in order {
        let namespace = secret.metadata.namespace.as_deref().unwrap_or_default();
        let count = counts.entry(namespace).or_default();
        let verdict = key(secret, accounts).and_then(|key| {
            if keys.contains_key(&key.id) {
                return Err("an older Secret has this id; make another key".to_owned());
            }
            if *count >= NAMESPACE_KEYS_MAX {
                return Err(format!(
                    "its namespace has {NAMESPACE_KEYS_MAX} keys already; delete one of them"
                ));
            }
            if keys.len() >= KEYS_MAX {
                return Err(format!("there are {KEYS_MAX} keys already"));
            }
            Ok(key)
        });
        match verdict {
            Ok(key) => {
                *count += 1;
                keys.insert(key.id.clone(), key);
            },
            Err(reason) => refused.push(Refused {
                namespace: secret.metadata.namespace.clone().unwrap_or_default(),
                name: secret.metadata.name.clone().unwrap_or_default(),
                reason,
            }),
        }
    }
    (keys.into_values().collect(), refused)
}

/// Older first; of two of one second the one whose name comes first.
fn age(secret: &SecretObject) -> (Option<Timestamp>, Option<String>, Option<String>) {
    let metadata = &secret.metadata;
    (
        metadata.creation_timestamp.as_ref().map(|time| time.0),
        metadata.namespace.clone(),
        metadata.name.clone(),
    )
}

fn key(secret: &SecretObject, accounts: &BTreeMap<String, Account>) -> Result<AccessKey, String> {
    let namespace = secret.metadata.namespace.as_deref().unwrap_or_default();
    let account = accounts.get(namespace).and_then(Account::own);
    let Some(account) = account else {
        return Err("its namespace has no account".to_owned());
    };
    let id = text(secret, "id")?;
    if !ID_CHARS.contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("data.id is not 16 to 128 letters and digits".to_owned());
    }
    let secret = text(secret, "secret")?;
    let is_printable = secret.bytes().all(|b| b.is_ascii_graphic());
    if !(SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&secret.len()) || !is_printable {
        return Err("data.secret is not 8 to 256 printable characters without blanks".to_owned());
    }
    Ok(AccessKey {
        id,
        secret: Secret::new(secret),
        account: account.clone(),
    })
}

fn text(secret: &SecretObject, name: &str) -> Result<String, String> {
    let data = secret.data.as_ref().and_then(|data| data.get(name));
    let Some(bytes) = data else {
        return Err(format!("data.{name} is missing"));
    };
    String::from_utf8(bytes.0.clone()).map_err(|_| format!("data.{name} is no text"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    use super::*;

    const ID: &str = "AKIA0000000000000001";

    fn secret(name: &str, created: i64, data: &[(&str, &str)]) -> SecretObject {
        let bytes =
            |(key, text): &(&str, &str)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()));
        SecretObject {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("team".to_owned()),
                creation_timestamp: Timestamp::from_second(created).ok().map(Time),
                ..ObjectMeta::default()
            },
            data: Some(data.iter().map(bytes).collect()),
            ..SecretObject::default()
        }
    }

    fn accounts() -> BTreeMap<String, Account> {
        let account = "000000000007".parse().expect("an account");
        BTreeMap::from([("team".to_owned(), Account::Own(account))])
    }

    #[test]
    fn a_key_is_of_its_namespaces_account() {
        let one = secret("a", 1, &[("id", ID), ("secret", "correct-horse")]);
        let (keys, refused) = read(&[&one], &accounts());
        assert_eq!(refused, []);
        assert_eq!(keys[0].id, ID);
        assert_eq!(keys[0].account.as_str(), "000000000007");
        assert_eq!(keys[0].secret.reveal(), "correct-horse");
    }

    #[test]
    fn of_two_secrets_with_one_id_the_older_counts() {
        let young = secret("a", 9, &[("id", ID), ("secret", "of-the-thief")]);
        let old = secret("b", 1, &[("id", ID), ("secret", "of-the-owner")]);
        let (keys, refused) = read(&[&young, &old], &accounts());
        assert_eq!(keys[0].secret.reveal(), "of-the-owner");
        assert_eq!(refused[0].name, "a");
    }

    #[test]
    fn a_namespace_with_more_keys_than_its_share_takes_no_others_room() {
        let mut accounts = accounts();
        let account = "000000000008".parse().expect("an account");
        accounts.insert("other".to_owned(), Account::Own(account));
        let numbered = |number: usize, created: i64| {
            let id = format!("AKIA{number:016}");
            let data = [("id", id.as_str()), ("secret", "correct-horse")];
            secret(&format!("k{number}"), created, &data)
        };
        let many: Vec<SecretObject> = (0..KEYS_MAX + 1).map(|n| numbered(n, 1)).collect();
        let mut young = numbered(KEYS_MAX + 1, 9);
        young.metadata.namespace = Some("other".to_owned());
        let all: Vec<&SecretObject> = many.iter().chain([&young]).collect();
        let (keys, refused) = read(&all, &accounts);
        assert_eq!(keys.len(), NAMESPACE_KEYS_MAX + 1);
        assert!(
            keys.iter()
                .any(|key| key.account.as_str() == "000000000008")
        );
        assert!(refused.iter().all(|refusal| refusal.namespace == "team"));
        assert!(refused[0].reason.contains("1000 keys"), "{refused:?}");
    }

    #[test]
    fn a_refusal_says_the_field_and_never_the_key() {
        for (data, want) in [
            (vec![("secret", "long-enough")], "data.id is missing"),
            (vec![("id", ID)], "data.secret is missing"),
            (
                vec![("id", "short"), ("secret", "long-enough")],
                "data.id is not",
            ),
            (
                vec![("id", ID), ("secret", "two words")],
                "data.secret is not",
            ),
            (vec![("id", ID), ("secret", "short")], "data.secret is not"),
        ] {
            let (keys, refused) = read(&[&secret("a", 1, &data)], &accounts());
            assert_eq!(keys.len(), 0);
            assert!(refused[0].reason.starts_with(want), "{refused:?}");
            assert!(!refused[0].reason.contains("two words"));
        }
        let whole = secret("a", 1, &[("id", ID), ("secret", "correct-horse")]);
        let (_, refused) = read(&[&whole], &BTreeMap::new());
        assert_eq!(refused[0].reason, "its namespace has no account");
    }
}
