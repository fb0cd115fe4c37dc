//! Reading the manifests that `-f` names: a file, or a folder of them.
//!
//! Several documents in a file, empty ones and `List` are allowed. Foreign kinds are skipped with
//! a log line; kinds of ours that are not served yet, and unknown fields, are refused by name.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use millstream_chassis::yaml::{self, Value};
use millstream_control::StreamSpec;
use millstream_crds::data_stream::StreamMode as ManifestMode;
use millstream_crds::{API_VERSION, DataStream, PLANNED_KINDS, TypeMeta};
use millstream_types::{ShardMetrics, StreamMode};

/// Largest manifest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most manifest files in a folder.
const FILES_MAX: usize = 1_000;
/// Most `DataStream`s in all files together.
const MANIFESTS_MAX: usize = 10_000;

/// A `DataStream` as it was written, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Where it stands: file and document.
    pub source: String,
    /// What it asks for.
    pub spec: StreamSpec,
    /// The retained stream that it should take over, if any.
    pub adopt: Option<String>,
}

/// Why manifests cannot be read. The text names the file, the document and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The path cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A named limit is passed.
    #[error("{}: {what} is more than {limit}", path.display())]
    Limit {
        /// The file or folder.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// Its limit.
        limit: u64,
    },
    /// A document is no YAML, or not of the shape of its kind.
    #[error("{source_text}: {reason}")]
    Shape {
        /// File and document.
        source_text: String,
        /// What is wrong.
        reason: String,
    },
    /// Rules are broken.
    #[error("{source_text}: {}", violations.join("; "))]
    Invalid {
        /// File and document.
        source_text: String,
        /// Each with its field and its fix.
        violations: Vec<String>,
    },
}

/// All `DataStream`s at `path`, in the order of file names and documents.
///
/// # Errors
/// At the first document that is refused.
pub fn read(path: &Path) -> Result<Vec<Manifest>, ManifestError> {
    let mut manifests = Vec::new();
    for file in files(path)? {
        let text = read_file(&file)?;
        let name = file.display().to_string();
        let documents = yaml::documents(&text).map_err(|error| ManifestError::Shape {
            source_text: name.clone(),
            reason: error.to_string(),
        })?;
        for (number, document) in (1..).zip(documents) {
            take_document(
                &format!("{name}, document {number}"),
                document,
                &mut manifests,
            )?;
        }
        if manifests.len() > MANIFESTS_MAX {
            return Err(ManifestError::Limit {
                path: path.to_owned(),
                what: "the number of DataStreams",
                limit: MANIFESTS_MAX as u64,
            });
        }
    }
    Ok(manifests)
}

/// The file itself, or the YAML files of the folder by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let failed = |error: std::io::Error| ManifestError::Io {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let named_yaml = file
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if named_yaml && fs::metadata(&file).map_err(failed)?.is_file() {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(ManifestError::Limit {
                path: path.to_owned(),
                what: "the number of files",
                limit: FILES_MAX as u64,
            });
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<String, ManifestError> {
    let failed = |error: std::io::Error| ManifestError::Io {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let read = file
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(ManifestError::Limit {
            path: path.to_owned(),
            what: "its size in bytes",
            limit: FILE_BYTES_MAX,
        });
    }
    Ok(text)
}

/// Adds the document's manifests; a `List` may hold anything but another `List`.
fn take_document(
    source: &str,
    document: Value,
    manifests: &mut Vec<Manifest>,
) -> Result<(), ManifestError> {
    if document.is_null() {
        return Ok(());
    }
    let meta = type_of(source, &document)?;
    if meta.kind != "List" || meta.api_version != "v1" {
        return take_object(source, &meta, document, manifests);
    }
    let items = match document.get("items") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Sequence(items)) => items,
        Some(_) => return Err(shape(source, "items of a List must be a list")),
    };
    for (number, item) in (1..).zip(items) {
        let source = format!("{source}, item {number}");
        let meta = type_of(&source, item)?;
        if meta.kind == "List" {
            return Err(shape(
                &source,
                "a List in a List is not read; write its items instead",
            ));
        }
        take_object(&source, &meta, item.clone(), manifests)?;
    }
    Ok(())
}

fn type_of(source: &str, document: &Value) -> Result<TypeMeta, ManifestError> {
    let meta: TypeMeta = yaml::from_value(document.clone())
        .map_err(|_| shape(source, "it is no object with apiVersion and kind"))?;
    if meta.api_version.is_empty() || meta.kind.is_empty() {
        return Err(shape(source, "it has no apiVersion or no kind"));
    }
    Ok(meta)
}

fn take_object(
    source: &str,
    meta: &TypeMeta,
    object: Value,
    manifests: &mut Vec<Manifest>,
) -> Result<(), ManifestError> {
    if !meta.is_ours() {
        tracing::info!(%source, kind = %meta.kind, api_version = %meta.api_version,
            "skipped a manifest of a foreign kind");
        return Ok(());
    }
    if PLANNED_KINDS.contains(&meta.kind.as_str()) {
        let reason = format!(
            "kind {} is not served by this version; remove the document",
            meta.kind
        );
        return Err(shape(source, &reason));
    }
    if meta.kind != DataStream::KIND || meta.api_version != API_VERSION {
        let reason = format!(
            "{} {} is unknown; this version serves {API_VERSION} {}",
            meta.api_version,
            meta.kind,
            DataStream::KIND
        );
        return Err(shape(source, &reason));
    }
    let object: DataStream =
        yaml::from_value(object).map_err(|error| shape(source, &error.to_string()))?;
    object
        .validate()
        .map_err(|violations| ManifestError::Invalid {
            source_text: source.to_owned(),
            violations: violations.iter().map(ToString::to_string).collect(),
        })?;
    manifests.push(manifest(source, &object)?);
    Ok(())
}

fn shape(source: &str, reason: &str) -> ManifestError {
    ManifestError::Shape {
        source_text: source.to_owned(),
        reason: reason.to_owned(),
    }
}

/// What a valid `DataStream` asks for.
fn manifest(source: &str, object: &DataStream) -> Result<Manifest, ManifestError> {
    let spec = &object.spec;
    let number = |value: i32| u32::try_from(value).expect("validate() has checked the range");
    let name = object
        .stream_name()
        .parse()
        .map_err(|error| shape(source, &format!("spec.streamName: {error}")))?;
    let mut wanted = StreamSpec::new(name);
    wanted.mode = match spec.stream_mode {
        ManifestMode::Provisioned => StreamMode::Provisioned,
        ManifestMode::OnDemand => StreamMode::OnDemand,
    };
    wanted.shard_count = spec.shard_count.map(|count| u64::from(number(count)));
    wanted.retention_hours = number(spec.retention_period_hours);
    wanted.max_record_kib = number(spec.max_record_size_in_kib);
    wanted.tags.clone_from(&spec.tags);
    if let Some(metrics) = &spec.shard_level_metrics {
        let set = ShardMetrics::parse(metrics.iter().map(|metric| metric.as_str()));
        let set = set.map_err(|e| shape(source, &format!("spec.shardLevelMetrics: {e}")))?;
        wanted.shard_level_metrics = Some(set);
    }
    Ok(Manifest {
        source: source.to_owned(),
        spec: wanted,
        adopt: spec.adopt_stream_id.clone(),
    })
}

#[cfg(test)]
mod tests;
