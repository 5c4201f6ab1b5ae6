//! SIP secrets while a run lasts: kept here and nowhere else, and known everywhere else by a fingerprint.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

/// Bytes of the key.
pub const KEY_LENGTH: usize = 32;
/// What the module's key is used for here, so that a fingerprint is good for nothing else.
const PURPOSE: &[u8] = b"fingerprint of a SIP secret\0";
/// Bytes of a fingerprint: two secrets share one with a probability of 2^-128.
const FINGERPRINT_LENGTH: usize = 16;

/// Holds the secrets of a run. `Debug` shows none of them.
pub struct Vault {
    key: SecretBox<[u8; KEY_LENGTH]>,
    kept: Mutex<BTreeMap<String, SecretString>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    /// An empty vault. Fingerprints made with the same key can be compared with those of earlier runs.
    pub fn new(key: [u8; KEY_LENGTH]) -> Vault {
        Vault { key: SecretBox::new(Box::new(key)), kept: Mutex::default() }
    }

    /// Keeps a secret and answers its fingerprint: 32 lower-case hex digits of HMAC-SHA-256 (RFC 2104) under the
    /// module's key, worth nothing without it. An empty secret has an empty one.
    pub fn keep(&self, secret: &str) -> String {
        if secret.is_empty() {
            return String::new();
        }
        let fingerprint = self.fingerprint(secret);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(fingerprint.clone()).or_insert_with(|| SecretString::from(secret));
        fingerprint
    }

    /// The secret with this fingerprint, if this run has met it.
    pub fn open(&self, fingerprint: &str) -> Option<SecretString> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned()
    }

    fn fingerprint(&self, secret: &str) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose_secret()) else { return String::new() };
        mac.update(PURPOSE);
        mac.update(secret.as_bytes());
        mac.finalize().into_bytes().iter().take(FINGERPRINT_LENGTH).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_opens_the_vault_that_kept_the_secret() {
        let vault = Vault::new([1; KEY_LENGTH]);
        let fingerprint = vault.keep("Kj8sHd72LmQp4Xz9Vb3T");
        assert_eq!(fingerprint.len(), 2 * FINGERPRINT_LENGTH);
        assert_eq!(fingerprint, Vault::new([1; KEY_LENGTH]).keep("Kj8sHd72LmQp4Xz9Vb3T"), "the same in the next run");
        assert_ne!(fingerprint, vault.keep("kj8sHd72LmQp4Xz9Vb3T"));
        assert_ne!(fingerprint, Vault::new([2; KEY_LENGTH]).keep("Kj8sHd72LmQp4Xz9Vb3T"));
        let opened = vault.open(&fingerprint).map(|secret| secret.expose_secret().to_owned());
        assert_eq!(opened.as_deref(), Some("Kj8sHd72LmQp4Xz9Vb3T"));
        assert!(vault.open("unknown").is_none());
        assert_eq!(vault.keep(""), "");
    }

    #[test]
    fn a_vault_shows_nothing() {
        let vault = Vault::new([7; KEY_LENGTH]);
        vault.keep("Kj8sHd72LmQp4Xz9Vb3T");
        assert_eq!(format!("{vault:?}"), "Vault { .. }");
    }
}
