//! The files in the folder `node/` of the data directory: `iterator.key` and `desired-state`, and how
//! those of `front` are read and written.
//!
//! Formats: `docs/formats/node-files.md`. Each file is written beside its place, synced, renamed,
//! and its folder synced: it is whole or absent after any crash.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use millstream_clock::Entropy;
use millstream_control::{DesiredStream, StreamSpec, Version};
use millstream_stream::TokenKey;
use millstream_types::{Scope, StreamName};
use serde::{Deserialize, Serialize};

const FOLDER: &str = "node";
const KEY_FILE: &str = "iterator.key";
const STATE_FILE: &str = "desired-state";
/// First line of `desired-state`, before the checksum.
const STATE_MAGIC: &str = "millstream desired-state 1 crc32c=";

/// Why a file of `node/` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeFileError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key has a wrong length.
    #[error(
        "{}: an iterator key has 32 bytes, this one has {bytes}; remove the file (iterators given \
         before stop working)", path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The key of the CA is none.
    #[error(
        "{}: it is no private key in PEM form; remove the file (a new CA is made, and clients have \
         to trust its certificate)", path.display()
    )]
    TlsKey {
        /// The file.
        path: PathBuf,
    },
    /// The desired state fails its checksum or is of another version.
    #[error("{}: {reason}; remove the file (it is written again from the manifests)", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The key that seals iterators and page tokens; made at the first start.
///
/// # Errors
/// When the file cannot be read or made, or is no key.
pub fn iterator_key(data_dir: &Path, entropy: &dyn Entropy) -> Result<TokenKey, NodeFileError> {
    let path = data_dir.join(FOLDER).join(KEY_FILE);
    if let Some(bytes) = read(&path)? {
        let key = bytes
            .try_into()
            .map_err(|bytes: Vec<u8>| NodeFileError::Key {
                path,
                bytes: bytes.len(),
            })?;
        return Ok(TokenKey::new(key));
    }
    let mut key = [0; TokenKey::BYTES];
    entropy.fill(&mut key);
    write(data_dir, KEY_FILE, &key)?;
    Ok(TokenKey::new(key))
}

/// What the manifests asked for when they were last applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Highest version of any stream so far.
    pub version: Version,
    /// The streams, in the manifests' order.
    pub streams: Vec<DesiredStream>,
}

impl DesiredState {
    /// The state after manifests that ask for `specs`: a stream whose specification changed gets
    /// a new version.
    #[must_use]
    pub fn followed_by(&self, scope: &Scope, specs: Vec<StreamSpec>) -> Self {
        let before: HashMap<_, _> = self
            .streams
            .iter()
            .map(|old| (identity(old), old))
            .collect();
        let mut version = self.version;
        let mut streams = Vec::with_capacity(specs.len());
        for spec in specs {
            let mut wanted = DesiredStream {
                scope: scope.clone(),
                version: Version(self.version.0 + 1),
                spec,
            };
            match before.get(&identity(&wanted)) {
                Some(old) if old.spec == wanted.spec => wanted.version = old.version,
                _ => version = wanted.version,
            }
            streams.push(wanted);
        }
        Self { version, streams }
    }

    /// The streams of this state that `after` does not want, in any version.
    #[must_use]
    pub fn dropped_by<'a>(&'a self, after: &Self) -> Vec<&'a DesiredStream> {
        let wanted: HashSet<_> = after.streams.iter().map(identity).collect();
        let dropped = |stream: &&DesiredStream| !wanted.contains(&identity(stream));
        self.streams.iter().filter(dropped).collect()
    }
}

fn identity(stream: &DesiredStream) -> (&Scope, &StreamName) {
    (&stream.scope, &stream.spec.name)
}

/// The last desired state; an empty one at the first start.
///
/// # Errors
/// When the file cannot be read or is corrupt.
pub fn read_desired_state(data_dir: &Path) -> Result<DesiredState, NodeFileError> {
    let path = data_dir.join(FOLDER).join(STATE_FILE);
    let Some(bytes) = read(&path)? else {
        return Ok(DesiredState::default());
    };
    decode(&bytes).map_err(|reason| NodeFileError::State { path, reason })
}

/// Keeps the desired state.
///
/// # Errors
/// When the file cannot be written.
pub fn write_desired_state(data_dir: &Path, state: &DesiredState) -> Result<(), NodeFileError> {
    write(data_dir, STATE_FILE, &encode(state))
}

fn encode(state: &DesiredState) -> Vec<u8> {
    let body = serde_json::to_vec_pretty(state).expect("plain data with text keys is JSON");
    let mut bytes = format!("{STATE_MAGIC}{:08x}\n", crc32c::crc32c(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes.push(b'\n');
    bytes
}

fn decode(bytes: &[u8]) -> Result<DesiredState, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let (head, body) = text.split_once('\n').ok_or("it has no first line")?;
    let sum = head
        .strip_prefix(STATE_MAGIC)
        .ok_or("its first line is not of this version")?;
    let body = body.trim_end_matches('\n');
    if sum != format!("{:08x}", crc32c::crc32c(body.as_bytes())) {
        return Err("its checksum is wrong");
    }
    serde_json::from_str(body).map_err(|_| "its JSON is not of the format")
}

/// Where a file of `node/` is.
pub(crate) fn file_path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(FOLDER).join(name)
}

/// The bytes of a file of `node/`, if it is there.
pub(crate) fn read_file(data_dir: &Path, name: &str) -> Result<Option<Vec<u8>>, NodeFileError> {
    read(&file_path(data_dir, name))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> NodeFileError + '_ {
    |source| NodeFileError::Io {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, NodeFileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Writes a file that only its owner can read, atomically and durably.
pub(crate) fn write(data_dir: &Path, name: &str, bytes: &[u8]) -> Result<(), NodeFileError> {
    let folder = data_dir.join(FOLDER);
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let (path, beside) = (folder.join(name), folder.join(format!("{name}.new")));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed(&beside))?;
    file.write_all(bytes).map_err(failed(&beside))?;
    file.sync_all().map_err(failed(&beside))?;
    drop(file);
    fs::rename(&beside, &path).map_err(failed(&path))?;
    sync_folder(&folder)?;
    sync_folder(data_dir)
}

fn sync_folder(folder: &Path) -> Result<(), NodeFileError> {
    fs::File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(failed(folder))
}

#[cfg(test)]
mod tests;
