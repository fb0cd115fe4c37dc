//! The operator's certificate authorities and the key that seals page tokens, as one Secret.
//!
//! [`Keyring`] is pure: what the Secret says, and how an authority gives way to the next. The next
//! one is trusted for [`PROPAGATION`] before it signs, so that every bundle has it by then; the
//! former one is trusted until the last certificate that it signed has run out.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use millstream_clock::Entropy;
use millstream_control::Secret;
use millstream_link::authority::{
    AUTHORITY_LIFE, Authority, AuthorityError, CERTIFICATE_LIFE, Pair,
};
use millstream_types::Millis;

use crate::random_key::random_key;

/// How long a new authority is only trusted before it signs.
pub const PROPAGATION: Duration = Duration::from_secs(3_600);
/// Age at which an authority is replaced.
pub const ROTATE_AFTER: Duration = Duration::from_secs(AUTHORITY_LIFE.as_secs() / 3 * 2);
/// Annotation of the Secret: replace the authority now.
pub const ANNOTATION_ROTATE: &str = "millstream.dev/rotate-ca";

/// Annotation of the Secret: seal page tokens with a new key from now on.
pub const ANNOTATION_ROTATE_TOKEN_KEY: &str = "millstream.dev/rotate-token-key";

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const MADE: &str = "ca.made";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const NEXT_MADE: &str = "next.made";
const FORMER_CERTIFICATE: &str = "former.crt";
const FORMER_UNTIL: &str = "former.until";
const TOKEN_KEY: &str = "token.key";

/// What the Secret holds.
#[derive(Clone, Debug)]
pub struct Keyring {
    current: Dated,
    next: Option<Dated>,
    former: Option<Former>,
    token_key: Secret,
}

#[derive(Clone, Debug)]
struct Dated {
    pair: Pair,
    made: Millis,
}

#[derive(Clone, Debug)]
struct Former {
    certificate_pem: String,
    until: Millis,
}

/// Why a kept keyring cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// A part is missing or no text.
    #[error(
        "data.{0} is missing or damaged; restore the Secret, or delete it to begin anew: every server then needs a new certificate"
    )]
    Part(&'static str),
    /// An authority cannot be made or read.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Keyring {
    /// A first keyring.
    ///
    /// # Errors
    /// When the machine gives no key.
    pub fn generate(now: Millis, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        Ok(Self {
            current: dated(now, entropy)?,
            next: None,
            former: None,
            token_key: Secret::new(random_key(entropy)),
        })
    }

    /// What a Secret says.
    ///
    /// # Errors
    /// When a part is missing or damaged.
    pub fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, KeyringError> {
        let text = |name: &'static str| {
            let bytes = data.get(name).ok_or(KeyringError::Part(name))?;
            String::from_utf8(bytes.0.clone()).map_err(|_| KeyringError::Part(name))
        };
        let moment = |name: &'static str| {
            let ms = text(name)?.parse().map_err(|_| KeyringError::Part(name))?;
            Ok::<_, KeyringError>(Millis(ms))
        };
        let dated = |certificate, key, made| {
            Ok::<_, KeyringError>(Dated {
                pair: Pair {
                    certificate_pem: text(certificate)?,
                    key_pem: text(key)?,
                },
                made: moment(made)?,
            })
        };
        let keyring = Self {
            current: dated(CERTIFICATE, KEY, MADE)?,
            next: match data.contains_key(NEXT_CERTIFICATE) {
                true => Some(dated(NEXT_CERTIFICATE, NEXT_KEY, NEXT_MADE)?),
                false => None,
            },
            former: match data.contains_key(FORMER_CERTIFICATE) {
                true => Some(Former {
                    certificate_pem: text(FORMER_CERTIFICATE)?,
                    until: moment(FORMER_UNTIL)?,
                }),
                false => None,
            },
            token_key: Secret::new(text(TOKEN_KEY)?),
        };
        keyring.authority()?;
        Ok(keyring)
    }

    /// What the Secret should say.
    #[must_use]
    pub fn write(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::new();
        let mut put = |name: &str, text: String| {
            data.insert(name.to_owned(), ByteString(text.into_bytes()));
        };
        put(CERTIFICATE, self.current.pair.certificate_pem.clone());
        put(KEY, self.current.pair.key_pem.clone());
        put(MADE, self.current.made.0.to_string());
        if let Some(next) = &self.next {
            put(NEXT_CERTIFICATE, next.pair.certificate_pem.clone());
            put(NEXT_KEY, next.pair.key_pem.clone());
            put(NEXT_MADE, next.made.0.to_string());
        }
        if let Some(former) = &self.former {
            put(FORMER_CERTIFICATE, former.certificate_pem.clone());
            put(FORMER_UNTIL, former.until.0.to_string());
        }
        put(TOKEN_KEY, self.token_key.reveal().to_owned());
        data
    }

    /// The next step of a rotation at `now`, if one is due: asked for, or by age. Whether anything
    /// changed.
    ///
    /// # Errors
    /// When the machine gives no key.
    pub fn turn(
        &mut self,
        now: Millis,
        is_asked: bool,
        entropy: &dyn Entropy,
    ) -> Result<bool, KeyringError> {
        let age = |made: Millis| Duration::from_millis(now.0.saturating_sub(made.0));
        if let Some(former) = &self.former
            && former.until <= now
        {
            self.former = None;
            return Ok(true);
        }
        if let Some(next) = &self.next {
            if age(next.made) < PROPAGATION {
                return Ok(false);
            }
            let next = next.clone();
            let former = std::mem::replace(&mut self.current, next);
            self.next = None;
            let life = u64::try_from(CERTIFICATE_LIFE.as_millis()).unwrap_or(u64::MAX);
            self.former = Some(Former {
                certificate_pem: former.pair.certificate_pem,
                until: Millis(now.0.saturating_add(life)),
            });
            return Ok(true);
        }
        // One at a time: the former one must be gone, so that a bundle never holds three.
        let is_due = is_asked || age(self.current.made) >= ROTATE_AFTER;
        if is_due && self.former.is_none() {
            self.next = Some(dated(now, entropy)?);
            return Ok(true);
        }
        Ok(false)
    }

    /// Seals page tokens with another key from now on. Gateways go on opening those of the key
    /// before, which last five minutes.
    pub fn replace_token_key(&mut self, entropy: &dyn Entropy) {
        self.token_key = Secret::new(random_key(entropy));
    }

    /// Whether an authority is on its way in or out.
    #[must_use]
    pub const fn is_rotating(&self) -> bool {
        self.next.is_some() || self.former.is_some()
    }

    /// Who signs.
    ///
    /// # Errors
    /// When the kept authority cannot be read.
    pub fn authority(&self) -> Result<Authority, KeyringError> {
        Ok(Authority::from_pair(self.current.pair.clone())?)
    }

    /// The certificates that everybody trusts: at most two.
    #[must_use]
    pub fn bundle(&self) -> String {
        let mut bundle = self.current.pair.certificate_pem.clone();
        let next = self.next.as_ref().map(|next| &next.pair.certificate_pem);
        let former = self.former.as_ref().map(|former| &former.certificate_pem);
        for other in next.into_iter().chain(former) {
            bundle.push_str(other);
        }
        bundle
    }

    /// Seals page tokens, the same for all gateways.
    #[must_use]
    pub fn token_key(&self) -> Secret {
        self.token_key.clone()
    }
}

fn dated(now: Millis, entropy: &dyn Entropy) -> Result<Dated, KeyringError> {
    let authority = Authority::generate(now, entropy)?;
    Ok(Dated {
        pair: authority.pair().clone(),
        made: now,
    })
}

#[cfg(test)]
mod tests {
    use millstream_clock::SeededEntropy;

    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn later(by: Duration) -> Millis {
        Millis(NOW.0 + u64::try_from(by.as_millis()).expect("small"))
    }

    fn certificates(keyring: &Keyring) -> usize {
        keyring.bundle().matches("BEGIN CERTIFICATE").count()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let entropy = SeededEntropy::new(1);
        let mut keyring = Keyring::generate(NOW, &entropy).expect("made");
        assert!(keyring.turn(NOW, true, &entropy).expect("made"));
        let read = Keyring::read(&keyring.write()).expect("read");
        assert_eq!(read.write(), keyring.write());
        let first = keyring.token_key();
        assert_eq!(first.reveal().len(), 64);
        keyring.replace_token_key(&entropy);
        assert_eq!(keyring.token_key().reveal().len(), 64);
        assert_ne!(keyring.token_key(), first);
        let mut damaged = keyring.write();
        damaged.remove(NEXT_KEY);
        let error = Keyring::read(&damaged).expect_err("refused").to_string();
        assert!(error.contains("data.next.key"), "{error}");
    }

    #[test]
    fn a_rotation_never_signs_with_what_is_not_yet_trusted() {
        let entropy = SeededEntropy::new(2);
        let mut keyring = Keyring::generate(NOW, &entropy).expect("made");
        let first = keyring.bundle();
        assert!(!keyring.turn(NOW, false, &entropy).expect("nothing is due"));
        assert!(
            keyring
                .turn(later(ROTATE_AFTER), false, &entropy)
                .expect("begun")
        );
        assert_eq!(certificates(&keyring), 2);
        assert!(
            keyring.bundle().starts_with(&first),
            "the first still signs"
        );
        let soon = later(ROTATE_AFTER + PROPAGATION / 2);
        assert!(!keyring.turn(soon, true, &entropy).expect("too early"));
        let promoted = later(ROTATE_AFTER + PROPAGATION);
        assert!(keyring.turn(promoted, false, &entropy).expect("promoted"));
        assert!(!keyring.bundle().starts_with(&first) && keyring.bundle().contains(&first));
        assert!(
            !keyring
                .turn(promoted, true, &entropy)
                .expect("one at a time")
        );
        let over = later(ROTATE_AFTER + PROPAGATION + CERTIFICATE_LIFE);
        assert!(keyring.turn(over, false, &entropy).expect("ended"));
        assert_eq!(certificates(&keyring), 1);
        assert!(!keyring.is_rotating());
    }
}
