//! Where a setting's value comes from, and the error that says so.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{SETTINGS, Setting};
use crate::yaml::{self, Value};

/// Largest settings file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag,
    /// In the environment variable of this name.
    Variable(String),
    /// In this file.
    File(PathBuf),
    /// Nowhere: the built-in default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is refused.
    #[error("setting '{setting}' from {from} is '{value}': {problem}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// Where the value came from.
        from: Source,
        /// The value.
        value: String,
        /// What is wrong with it, and the fix.
        problem: String,
    },
    /// The settings file cannot be used.
    #[error("settings file {path}: {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the fix.
        problem: String,
    },
    /// A variable holds no text.
    #[error("environment variable {0} is not UTF-8; set it to plain text")]
    NotText(String),
}

/// All values by setting, with their sources.
pub(super) struct Sources(BTreeMap<&'static str, Found>);

/// A value and its source.
#[derive(Clone, Debug)]
pub(super) struct Found {
    setting: &'static str,
    from: Source,
    value: String,
}

impl Found {
    /// Makes a typed value; a refusal becomes the error that names the source.
    pub(super) fn parse_with<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        parse(&self.value).map_err(|problem| self.refuse(&problem))
    }

    /// The error that refuses this value.
    pub(super) fn refuse(&self, problem: &str) -> ConfigError {
        ConfigError::Value {
            setting: self.setting,
            from: self.from.clone(),
            value: self.value.clone(),
            problem: problem.to_owned(),
        }
    }
}

impl Sources {
    /// Looks in all sources; the file is the one that the flag or the variable `config` names.
    pub(super) fn read(
        flags: BTreeMap<&'static str, String>,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let mut found = Self(BTreeMap::new());
        for setting in &SETTINGS {
            if let Some(value) = flags.get(setting.name) {
                found.put(setting, Source::Flag, value.clone());
                continue;
            }
            let variable = setting.variable();
            if let Some(value) = env(&variable) {
                let Ok(value) = value.into_string() else {
                    return Err(ConfigError::NotText(variable));
                };
                found.put(setting, Source::Variable(variable), value);
            }
        }
        if let Some(file) = found
            .find("config")
            .map(|found| PathBuf::from(&found.value))
        {
            found.read_file(&file)?;
        }
        for setting in &SETTINGS {
            if let Some(default) = setting.default {
                found.put(setting, Source::Default, default.to_owned());
            }
        }
        Ok(found)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Found> {
        self.0.get(name)
    }

    /// The value of a setting that has a default.
    pub(super) fn required(&self, name: &'static str) -> Result<&Found, ConfigError> {
        self.find(name).ok_or_else(|| ConfigError::Value {
            setting: name,
            from: Source::Default,
            value: String::new(),
            problem: "it has no value; set it".to_owned(),
        })
    }

    /// Keeps a value unless a stronger source gave one.
    fn put(&mut self, setting: &Setting, from: Source, value: String) {
        self.0.entry(setting.name).or_insert(Found {
            setting: setting.name,
            from,
            value,
        });
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let refuse = |problem: String| ConfigError::File {
            path: path.to_owned(),
            problem,
        };
        let text = read_text(path).map_err(refuse)?;
        let documents = yaml::documents(&text).map_err(|error| refuse(error.to_string()))?;
        let map = match &documents[..] {
            [] | [Value::Null] => return Ok(()),
            [Value::Mapping(map)] => map,
            _ => return Err(refuse("it is not one map of settings".to_owned())),
        };
        let mut seen = BTreeMap::new();
        for (key, value) in map {
            let key = key.as_str().unwrap_or_default();
            let setting = setting_of_key(key).map_err(refuse)?;
            if seen.insert(setting.name, key).is_some() {
                return Err(refuse(format!("'{}' is there twice", setting.name)));
            }
            let Some(value) = scalar(value) else {
                return Err(refuse(format!("'{key}' is no single value")));
            };
            self.put(setting, Source::File(path.to_owned()), value);
        }
        Ok(())
    }
}

/// The text of a settings file. Reads no more than its cap, whatever stands at the path.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if u64::try_from(read).is_ok_and(|read| read <= FILE_BYTES_MAX) {
        return Ok(text);
    }
    Err("it is over 1MiB, too large for settings".to_owned())
}

/// The setting of a key such as `data-dir`, `data_dir` or `dataDir`.
fn setting_of_key(key: &str) -> Result<&'static Setting, String> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let known = SETTINGS
        .iter()
        .filter(|setting| setting.name != "config")
        .find(|setting| plain(setting.name) == plain(key));
    known.ok_or_else(|| {
        let names: Vec<&str> = SETTINGS.iter().skip(1).map(|s| s.name).collect();
        format!("'{key}' is no setting; there are {}", names.join(", "))
    })
}

/// A text, number or truth value as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
