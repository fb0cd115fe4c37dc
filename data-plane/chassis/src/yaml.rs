//! YAML, read in one place: several documents in one text, line and column in every error.
//!
//! The rest of the workspace never names the library behind this module (`docs/adr/` says why it
//! was chosen).

use serde::de::DeserializeOwned;

pub use serde_yaml::Value;

/// A text that is no YAML, or not of the shape that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// What is wrong; names line and column where they are known.
    pub message: String,
}

impl From<serde_yaml::Error> for YamlError {
    fn from(error: serde_yaml::Error) -> Self {
        let message = error.to_string();
        Self { message }
    }
}

/// All documents of `text`, empty ones as [`Value::Null`].
///
/// # Errors
/// When one of the documents is no YAML.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    documents_as(text)
}

/// All documents of `text` as values of one type; errors carry line and column.
///
/// # Errors
/// When one of the documents is no YAML or no `T`.
pub fn documents_as<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, YamlError> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        documents.push(T::deserialize(document)?);
    }
    Ok(documents)
}

/// `value` as a `T`; an error names the path of the field.
///
/// # Errors
/// When the value has another shape; there is no line then.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, YamlError> {
    let error = match T::deserialize(&value) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    // Only a text's errors carry the path: write it and read it once more. The line is of that
    // text, which nobody has seen.
    let again = serde_yaml::to_string(&value).and_then(|text| serde_yaml::from_str::<T>(&text));
    let mut message = again.err().unwrap_or(error).to_string();
    if let Some(line) = message.rfind(" at line ") {
        message.truncate(line);
    }
    Err(YamlError { message })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn reads_several_documents_and_empty_ones() {
        let all = documents("a: 1\n---\n---\nb: 2\n").expect("three documents");
        assert_eq!(all.len(), 3);
        assert_eq!(all[1], Value::Null);
    }

    #[test]
    fn a_value_of_another_shape_is_refused_by_the_path_of_its_field() {
        type Nested = BTreeMap<String, BTreeMap<String, u8>>;
        let value = documents("a: {b: 1, c: two}\n")
            .expect("a document")
            .remove(0);
        let error = from_value::<Nested>(value).expect_err("no number");
        assert_eq!(
            error.message,
            "a.c: invalid type: string \"two\", expected u8"
        );
    }

    #[test]
    fn errors_name_the_line() {
        let error = documents("a: 1\nb: [\n").expect_err("an open bracket");
        assert!(error.message.contains("line"), "{error}");
        let error = documents("a: 1\na: 2\n").expect_err("a key twice");
        assert!(error.message.contains("duplicate"), "{error}");
    }
}
