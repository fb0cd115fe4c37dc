//! The checked-in digest of the service model, parsed once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The model that this build goes by.
pub static MODEL: LazyLock<Model> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../model/kinesis.json"))
        .expect("the digest is checked in and parsed by a test")
});

/// The digest.
#[derive(Debug, Deserialize)]
pub struct Model {
    /// Where it comes from.
    pub source: Source,
    /// Operations by name.
    pub operations: BTreeMap<String, OperationModel>,
    /// Shapes by name.
    shapes: BTreeMap<String, Shape>,
}

/// Where a model comes from.
#[derive(Debug, Deserialize)]
pub struct Source {
    /// The package that holds it.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// Service and version, the first part of a target.
    pub target_prefix: String,
}

/// One operation.
#[derive(Debug, Deserialize)]
pub struct OperationModel {
    /// Name of the input's shape.
    pub input: String,
    /// Name of the output's shape, if it has one.
    pub output: Option<String>,
    /// Names of the errors.
    pub errors: Vec<String>,
}

/// What kind of value a shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the model's and say it")]
pub enum ShapeType {
    Blob,
    Boolean,
    Integer,
    List,
    Long,
    Map,
    String,
    Structure,
    Timestamp,
}

/// One shape.
#[derive(Debug, Deserialize)]
pub struct Shape {
    /// What kind of value it is.
    #[serde(rename = "type")]
    pub shape_type: ShapeType,
    /// Least value or length.
    pub min: Option<i64>,
    /// Greatest value or length.
    pub max: Option<i64>,
    /// What a whole text must match.
    #[serde(default, deserialize_with = "pattern")]
    pub pattern: Option<Pattern>,
    /// The texts that are allowed.
    #[serde(rename = "enum")]
    pub values: Option<Vec<String>>,
    /// Members that must be there.
    #[serde(default)]
    pub required: Vec<String>,
    /// Members of a structure: name and shape, in the model's order.
    #[serde(default, deserialize_with = "ordered")]
    pub members: Vec<(String, String)>,
    /// Shape of a list's elements.
    pub member: Option<String>,
    /// Shape of a map's keys.
    pub key: Option<String>,
    /// Shape of a map's values.
    pub value: Option<String>,
}

/// A pattern as it is shown, and compiled.
#[derive(Debug)]
pub struct Pattern {
    /// As the model has it.
    pub text: String,
    /// Matches a whole text.
    pub regex: Regex,
}

impl Model {
    /// The shape of that name.
    ///
    /// # Panics
    /// When there is none: names come from the model itself.
    #[must_use]
    pub fn shape(&self, name: &str) -> &Shape {
        self.shapes
            .get(name)
            .expect("a shape that the model names is in the model")
    }

    /// Name and shape of an operation's input.
    ///
    /// # Panics
    /// When the model has no such operation; a test asks for all that are implemented.
    #[must_use]
    pub fn input(&self, operation: &str) -> (&str, &Shape) {
        let operation = self
            .operations
            .get(operation)
            .expect("an implemented operation is in the model");
        (&operation.input, self.shape(&operation.input))
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Pattern>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let regex = Regex::new(&format!("^(?:{text})$")).map_err(serde::de::Error::custom)?;
    Ok(Some(Pattern { text, regex }))
}

/// Reads an object in its own order.
fn ordered<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("names and shapes")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    deserializer.deserialize_map(Pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::Operation;
    use crate::route::TARGET_PREFIX;

    #[test]
    fn the_digest_holds_57_operations_and_all_shapes_they_name() {
        assert_eq!(MODEL.operations.len(), 57);
        assert_eq!(MODEL.source.target_prefix, TARGET_PREFIX);
        let tops = MODEL.operations.values().flat_map(|operation| {
            let errors = operation.errors.iter();
            errors.chain([&operation.input]).chain(&operation.output)
        });
        let inner = MODEL.shapes.values().flat_map(|shape| {
            let members = shape.members.iter().map(|(_, shape)| shape);
            members
                .chain(&shape.member)
                .chain(&shape.key)
                .chain(&shape.value)
        });
        for name in tops.chain(inner) {
            assert!(MODEL.shapes.contains_key(name), "{name}");
        }
    }

    #[test]
    fn every_implemented_operation_is_in_the_model() {
        for operation in Operation::ALL {
            assert_eq!(
                MODEL.input(operation.name()).1.shape_type,
                ShapeType::Structure
            );
        }
    }

    #[test]
    fn patterns_match_whole_texts() {
        let name = MODEL.shape("StreamName").pattern.as_ref().expect("has one");
        assert!(name.regex.is_match("a_B.9-"));
        assert!(!name.regex.is_match("a b"));
        assert!(!name.regex.is_match("a\n"));
    }
}
