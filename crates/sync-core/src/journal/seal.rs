//! Sealing of stored passwords.
//!
//! A password is encrypted with XChaCha20-Poly1305 under a random 32-byte key in a file of its own, with a random
//! nonce and the server's id as associated data, so that a sealed password is worth nothing without the key file and
//! cannot be moved to another server. Whoever can read both files can open the passwords.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};

use super::error::JournalError;
use super::files;
use crate::vault::{KEY_LENGTH, Vault};

const NONCE_LENGTH: usize = 24;
/// First byte of a sealed password: version byte, nonce, ciphertext with tag.
const FORMAT: u8 = 1;

type SealKey = SecretBox<[u8; KEY_LENGTH]>;

/// Makes the key file unless there is one, whatever it holds.
pub(super) fn ensure_key(path: &Path) -> Result<(), JournalError> {
    if path.exists() { Ok(()) } else { make_key(path) }
}

/// Seals `password` for server `id`. A missing key is made, one of the wrong length is moved aside first: nothing
/// sealed with it can be opened any more, and entering the passwords again must be enough to recover.
pub(super) fn seal(path: &Path, id: i64, password: &SecretString) -> Result<Vec<u8>, JournalError> {
    if let Err(KeyFault::Unusable(_)) = read_key(path) {
        replace_key(path)?;
    }
    let key = read_key(path)
        .map_err(|problem| JournalError::NotReadable { path: path.to_owned(), source: problem.into_io_error() })?;
    let mut nonce = [0; NONCE_LENGTH];
    fill(path, &mut nonce)?;
    let text = password.expose_secret().as_bytes();
    let payload = Payload { msg: text, aad: &associated_data(id) };
    let sealed = cipher(&key).encrypt(&XNonce::from(nonce), payload).map_err(|_| JournalError::Key {
        path: path.to_owned(),
        reason: format!("the password of server {id} is too long to be sealed"),
    })?;
    Ok([&[FORMAT], &nonce[..], &sealed].concat())
}

/// Opens a password that was sealed for server `id`.
pub(super) fn unseal(path: &Path, id: i64, sealed: &[u8]) -> Result<SecretString, JournalError> {
    let fault = |reason: &str| JournalError::Key {
        path: path.to_owned(),
        reason: format!("the stored password of server {id} cannot be opened: {reason}"),
    };
    let key = read_key(path).map_err(|problem| match problem {
        KeyFault::Unusable(reason) => fault(&reason),
        KeyFault::Unreadable(source) => JournalError::NotReadable { path: path.to_owned(), source },
    })?;
    let (nonce, text) = split(sealed).ok_or_else(|| fault("it is not in a form this version knows"))?;
    let payload = Payload { msg: text, aad: &associated_data(id) };
    let foreign = "the key file is not the one it was sealed with, or the stored value is damaged";
    let opened = Zeroizing::new(cipher(&key).decrypt(&nonce, payload).map_err(|_| fault(foreign))?);
    let text = std::str::from_utf8(&opened).map_err(|_| fault("it is not text"))?;
    Ok(SecretString::from(text))
}

/// Takes the key file away from everybody but its owner: MikoPBX makes all files of a module readable for everyone when
/// it installs the module and at each start. A failure is logged, since passwords may still be needed.
pub(super) fn tighten(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.permissions().mode() & 0o7777 == 0o600 {
        return;
    }
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
        log::warn!("the mode of {} cannot be set to 0600, others may read the key: {error}", path.display());
    }
}

/// A vault for the SIP secrets of a run, under the module's key. Where the key cannot be used the fingerprints of this run
/// are comparable with nothing, so that every secret counts as edited on both sides; what is equal agrees all the same.
pub(super) fn vault(path: &Path) -> Result<Vault, JournalError> {
    let key = match read_key(path) {
        Ok(key) => *key.expose_secret(),
        Err(problem) => {
            log::warn!("SIP secrets are compared without those of earlier runs: {}", problem.into_io_error());
            let mut key = [0; KEY_LENGTH];
            let failed =
                |error: getrandom::Error| JournalError::Key { path: path.to_owned(), reason: error.to_string() };
            getrandom::fill(&mut key).map_err(failed)?;
            key
        }
    };
    Ok(Vault::new(key))
}

fn associated_data(id: i64) -> Vec<u8> {
    format!("server:{id}").into_bytes()
}

fn cipher(key: &SealKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key.expose_secret()))
}

fn split(sealed: &[u8]) -> Option<(XNonce, &[u8])> {
    let (&format, rest) = sealed.split_first()?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_LENGTH>()?;
    (format == FORMAT).then(|| (XNonce::from(*nonce), text))
}

enum KeyFault {
    /// There is no key, or the file cannot be one.
    Unusable(String),
    /// The file cannot be read, but may hold a good key.
    Unreadable(std::io::Error),
}

impl KeyFault {
    fn into_io_error(self) -> std::io::Error {
        match self {
            KeyFault::Unusable(reason) => std::io::Error::other(reason),
            KeyFault::Unreadable(error) => error,
        }
    }
}

fn read_key(path: &Path) -> Result<SealKey, KeyFault> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(KeyFault::Unusable("the key file is missing".to_owned()));
        }
        Err(error) => return Err(KeyFault::Unreadable(error)),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LENGTH + 1));
    // One byte more than a key has tells a longer file without reading all of it.
    file.take(KEY_LENGTH as u64 + 1).read_to_end(&mut bytes).map_err(KeyFault::Unreadable)?;
    let wrong_length = |_| KeyFault::Unusable(format!("the key file does not hold exactly {KEY_LENGTH} bytes"));
    let key: [u8; KEY_LENGTH] = bytes.as_slice().try_into().map_err(wrong_length)?;
    Ok(SecretBox::new(Box::new(key)))
}

fn replace_key(path: &Path) -> Result<(), JournalError> {
    if path.exists() {
        let aside = path.with_extension("key.unusable");
        log::warn!("{} is not a key; it is moved to {}", path.display(), aside.display());
        fs::rename(path, &aside).map_err(|error| not_writable(path, error))?;
    }
    make_key(path)
}

/// Writes a new key to a file that must not exist yet.
fn make_key(path: &Path) -> Result<(), JournalError> {
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    fill(path, key.as_mut_slice())?;
    let mut file = files::create_new(path).map_err(|error| not_writable(path, error))?;
    if let Err(error) = file.write_all(key.as_slice()).and_then(|()| file.sync_all()) {
        // Half a key is worth nothing; when it cannot even be removed, the next password saved moves it aside.
        drop(fs::remove_file(path));
        return Err(not_writable(path, error));
    }
    let Some(directory) = path.parent() else { return Ok(()) };
    // The file's name must reach the disk before anything is sealed with the key.
    File::open(directory).and_then(|handle| handle.sync_all()).map_err(|error| not_writable(directory, error))
}

fn fill(path: &Path, bytes: &mut [u8]) -> Result<(), JournalError> {
    getrandom::fill(bytes).map_err(|error| {
        not_writable(path, std::io::Error::other(format!("the system gives no random numbers: {error}")))
    })
}

fn not_writable(path: &Path, error: std::io::Error) -> JournalError {
    JournalError::NotWritable { path: path.to_owned(), source: error.into() }
}
