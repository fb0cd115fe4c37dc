//! A random key as text, for whoever only needs one that nobody guesses.

use millstream_clock::Entropy;

/// 256 random bits, as 64 hexadecimal digits.
#[must_use]
pub fn random_key(entropy: &dyn Entropy) -> String {
    format!("{:032x}{:032x}", entropy.u128(), entropy.u128())
}
