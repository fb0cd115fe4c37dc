//! The keys that requests may be signed with, replaceable while requests run.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use millstream_protocol::sigv4::AccessKey;
use parking_lot::RwLock;

type Keys = HashMap<String, Arc<AccessKey>>;

/// A handle to the keys of a gateway. Clones are the same keys: whoever learns of new ones, from a
/// file or from the operator, gives them to [`Credentials::replace`].
#[derive(Clone, Default)]
pub struct Credentials(Arc<RwLock<Arc<Keys>>>);

impl Credentials {
    /// The given keys. Of two with one id the later counts.
    #[must_use]
    pub fn new(keys: Vec<AccessKey>) -> Self {
        let credentials = Self::default();
        credentials.replace(keys);
        credentials
    }

    /// From now on these are the keys; requests that are verified already go on.
    pub fn replace(&self, keys: Vec<AccessKey>) {
        let keys = keys.into_iter();
        let keys: Keys = keys.map(|key| (key.id.clone(), Arc::new(key))).collect();
        *self.0.write() = Arc::new(keys);
    }

    /// The key with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<AccessKey>> {
        self.0.read().get(id).cloned()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Whether there are none, so that every request is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} keys)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use millstream_protocol::sigv4::Secret;

    use super::*;

    fn key(id: &str, secret: &str) -> AccessKey {
        AccessKey {
            id: id.to_owned(),
            secret: Secret::new(secret.to_owned()),
            account: "000000000000".parse().expect("an account"),
            session_token: None,
        }
    }

    #[test]
    fn clones_see_the_new_keys_and_the_old_ones_are_gone() {
        let credentials = Credentials::new(vec![key("a", "hush")]);
        let other = credentials.clone();
        assert!(!format!("{credentials:?}").contains("hush"));
        credentials.replace(vec![key("b", "1"), key("b", "2")]);
        assert_eq!((other.len(), other.find("a")), (1, None));
        let found = other.find("b").expect("there");
        assert_eq!(found.secret.reveal(), "2");
    }
}
