//! Sealed tokens: what a client carries from call to call and can neither read nor make.
//!
//! A token is base64 of: version, 24 random bytes, XChaCha20-Poly1305 of the content. The purpose,
//! the account and the region are authenticated with it, so that a token opens only for the
//! operation and the scope that it was made for. The content starts with the time of issue.
//!
//! The key can be replaced while tokens are out: those of the key before still open, and last five
//! minutes at most.

use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use millstream_clock::Entropy;
use millstream_types::{Millis, Scope, caps};
use parking_lot::RwLock;

use crate::streams::Streams;
use crate::wire::{Reader, Writer};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// The key of all tokens of one data directory, or of all gateways. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey([u8; Self::BYTES]);

impl TokenKey {
    /// Length of a key.
    pub const BYTES: usize = 32;

    /// A key of these bytes, which must be random and secret.
    #[must_use]
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

/// What a token is for. Persisted for five minutes at most, but do not reuse a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    ShardIterator = 1,
    ListShards = 2,
    ListStreams = 3,
}

/// Why a token does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Not a token of ours for this purpose and scope.
    Invalid,
    /// A token of ours that is older than five minutes.
    Expired { issued: Millis },
}

pub(crate) struct Sealer {
    keys: RwLock<Keys>,
    entropy: Arc<dyn Entropy>,
}

struct Keys {
    key: TokenKey,
    /// Seals and opens.
    cipher: XChaCha20Poly1305,
    /// That of the key before: only opens.
    former: Option<XChaCha20Poly1305>,
}

impl Keys {
    fn open(&self, nonce: &XNonce, sealed: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let former = self.former.as_ref();
        let mut ciphers = std::iter::once(&self.cipher).chain(former);
        ciphers.find_map(|cipher| {
            let payload = Payload { msg: sealed, aad };
            cipher.decrypt(nonce, payload).ok()
        })
    }
}

impl<S> Streams<S> {
    /// Seals tokens with `key` from now on. Tokens of the key before are still opened.
    pub fn use_token_key(&self, key: &TokenKey) {
        self.inner.sealer.use_key(key);
    }
}

impl Sealer {
    pub(crate) fn new(key: &TokenKey, entropy: Arc<dyn Entropy>) -> Self {
        let keys = Keys {
            key: key.clone(),
            cipher: XChaCha20Poly1305::new((&key.0).into()),
            former: None,
        };
        Self {
            keys: RwLock::new(keys),
            entropy,
        }
    }

    fn use_key(&self, key: &TokenKey) {
        let mut keys = self.keys.write();
        if keys.key != *key {
            let cipher = XChaCha20Poly1305::new((&key.0).into());
            keys.former = Some(std::mem::replace(&mut keys.cipher, cipher));
            keys.key = key.clone();
        }
    }

    /// A writer for the content of a token that is issued now.
    pub(crate) fn content(now: Millis) -> Writer {
        let mut content = Writer::with_capacity(256);
        content.u64(now.0);
        content
    }

    pub(crate) fn seal(&self, purpose: Purpose, scope: &Scope, content: Writer) -> String {
        let mut nonce = [0; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let aad = associated(purpose, scope);
        let payload = Payload {
            msg: &content.finish(),
            aad: &aad,
        };
        let keys = self.keys.read();
        let sealed = keys
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a token is far below the cipher's limit of 256 GiB");
        drop(keys);
        let mut token = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        token.push(VERSION);
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&sealed);
        let text = base64_simd::STANDARD.encode_to_string(token);
        assert!(text.len() <= caps::ITERATOR_CHARS_MAX, "names are short");
        text
    }

    /// The content after the time of issue, unless the token is foreign or too old at `now`.
    pub(crate) fn open(
        &self,
        purpose: Purpose,
        scope: &Scope,
        text: &str,
        now: Millis,
    ) -> Result<Content, OpenError> {
        if text.len() > caps::ITERATOR_CHARS_MAX {
            return Err(OpenError::Invalid);
        }
        let token = base64_simd::STANDARD
            .decode_to_vec(text)
            .map_err(|_| OpenError::Invalid)?;
        let Some((&[VERSION], rest)) = token.split_first_chunk::<1>() else {
            return Err(OpenError::Invalid);
        };
        let (nonce, sealed) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(OpenError::Invalid)?;
        let aad = associated(purpose, scope);
        let content = self.keys.read().open(&XNonce::from(*nonce), sealed, &aad);
        let content = content.ok_or(OpenError::Invalid)?;
        let issued = Reader::new(&content)
            .u64()
            .map_err(|_| OpenError::Invalid)?;
        if now.since(Millis(issued)) > caps::ITERATOR_LIFE_MS {
            return Err(OpenError::Expired {
                issued: Millis(issued),
            });
        }
        Ok(Content(content))
    }
}

/// What was sealed.
pub(crate) struct Content(Vec<u8>);

impl Content {
    /// The fields after the time of issue.
    pub(crate) fn fields(&self) -> Reader<'_> {
        let mut reader = Reader::new(&self.0);
        reader.u64().expect("open has read the time of issue");
        reader
    }
}

fn associated(purpose: Purpose, scope: &Scope) -> Vec<u8> {
    let mut aad = Writer::with_capacity(96);
    aad.u8(VERSION)
        .u8(purpose as u8)
        .text(scope.account.as_str())
        .text(scope.region.as_str());
    aad.finish()
}

#[cfg(test)]
mod tests {
    use millstream_clock::SeededEntropy;

    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn scope(account: &str, region: &str) -> Scope {
        Scope {
            account: account.parse().expect("an account"),
            region: region.parse().expect("a region"),
        }
    }

    fn sealer(key: u8) -> Sealer {
        Sealer::new(&TokenKey::new([key; 32]), Arc::new(SeededEntropy::new(1)))
    }

    fn sealed(sealer: &Sealer, scope: &Scope) -> String {
        let mut content = Sealer::content(NOW);
        content.u32(42);
        sealer.seal(Purpose::ShardIterator, scope, content)
    }

    #[test]
    fn a_token_opens_for_its_purpose_and_scope_until_five_minutes_have_passed() {
        let (sealer, home) = (sealer(1), scope("000000000000", "us-east-1"));
        let text = sealed(&sealer, &home);
        let last = NOW.plus(caps::ITERATOR_LIFE_MS);
        let content = sealer.open(Purpose::ShardIterator, &home, &text, last);
        assert_eq!(content.map(|c| c.fields().u32()), Ok(Ok(42)));
        assert_eq!(
            sealer
                .open(Purpose::ShardIterator, &home, &text, last.plus(1))
                .err(),
            Some(OpenError::Expired { issued: NOW })
        );
    }

    #[test]
    fn a_token_is_refused_by_another_purpose_account_region_or_key() {
        let (own, home) = (sealer(1), scope("000000000000", "us-east-1"));
        let text = sealed(&own, &home);
        let refused = |sealer: &Sealer, purpose, scope: &Scope| {
            sealer.open(purpose, scope, &text, NOW).err() == Some(OpenError::Invalid)
        };
        assert!(refused(&own, Purpose::ListShards, &home));
        assert!(refused(
            &own,
            Purpose::ShardIterator,
            &scope("000000000001", "us-east-1")
        ));
        assert!(refused(
            &own,
            Purpose::ShardIterator,
            &scope("000000000000", "us-east-2")
        ));
        assert!(refused(&sealer(2), Purpose::ShardIterator, &home));
    }

    #[test]
    fn a_token_of_the_key_before_still_opens_and_one_before_that_does_not() {
        let (sealer, home) = (sealer(1), scope("000000000000", "us-east-1"));
        let opens = |text: &str| {
            let opened = sealer.open(Purpose::ShardIterator, &home, text, NOW);
            opened.is_ok()
        };
        let first = sealed(&sealer, &home);
        sealer.use_key(&TokenKey::new([2; 32]));
        let second = sealed(&sealer, &home);
        assert!(opens(&first) && opens(&second));
        // the same key again changes nothing
        sealer.use_key(&TokenKey::new([2; 32]));
        assert!(opens(&first));
        let newer = Sealer::new(&TokenKey::new([2; 32]), Arc::new(SeededEntropy::new(2)));
        assert!(
            newer
                .open(Purpose::ShardIterator, &home, &second, NOW)
                .is_ok()
        );
        sealer.use_key(&TokenKey::new([3; 32]));
        assert!(!opens(&first) && opens(&second));
    }

    #[test]
    fn a_token_with_any_changed_character_is_refused() {
        let (sealer, home) = (sealer(1), scope("000000000000", "us-east-1"));
        let text = sealed(&sealer, &home);
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            let opened = sealer.open(Purpose::ShardIterator, &home, &changed, NOW);
            assert_eq!(opened.err(), Some(OpenError::Invalid), "{place}");
        }
        for bad in ["", "AQ==", "not base64!", &"A".repeat(513)] {
            let opened = sealer.open(Purpose::ShardIterator, &home, bad, NOW);
            assert_eq!(opened.err(), Some(OpenError::Invalid), "{bad}");
        }
    }
}
