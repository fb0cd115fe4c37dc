//! Stream ARNs: `arn:aws:kinesis:us-east-1:000000000000:stream/name`.

use std::fmt;
use std::str::FromStr;

use crate::{AccountId, Region, StreamName};

/// The ARN of a stream. The partition is always shown as `aws`; others are read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamArn {
    /// Region of the stream.
    pub region: Region,
    /// Account that owns the stream.
    pub account: AccountId,
    /// Name of the stream.
    pub name: StreamName,
}

/// A text that is no stream ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream ARN is arn:aws*:kinesis:<region>:<account>:stream/<name>")]
pub struct ParseArnError;

impl fmt::Display for StreamArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arn:aws:kinesis:{}:{}:stream/{}",
            self.region, self.account, self.name
        )
    }
}

impl FromStr for StreamArn {
    type Err = ParseArnError;

    fn from_str(text: &str) -> Result<Self, ParseArnError> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, resource] = parts[..] else {
            return Err(ParseArnError);
        };
        if arn != "arn" || !partition.starts_with("aws") || service != "kinesis" {
            return Err(ParseArnError);
        }
        let name = resource.strip_prefix("stream/").ok_or(ParseArnError)?;
        Ok(Self {
            region: region.parse().map_err(|_| ParseArnError)?,
            account: account.parse().map_err(|_| ParseArnError)?,
            name: name.parse().map_err(|_| ParseArnError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_as_shown() {
        let text = "arn:aws:kinesis:us-east-1:000000000000:stream/flights";
        assert_eq!(
            text.parse::<StreamArn>().map(|a| a.to_string()),
            Ok(text.to_owned())
        );
    }

    #[test]
    fn rejects_other_resources() {
        for bad in [
            "",
            "arn:aws:kinesis:us-east-1:000000000000:stream/",
            "arn:aws:kinesis:us-east-1:000000000000:stream/a/consumer/b:1",
            "arn:aws:s3:us-east-1:000000000000:stream/a",
            "arn:aws:kinesis:us-east-1:1:stream/a",
        ] {
            assert_eq!(bad.parse::<StreamArn>(), Err(ParseArnError), "{bad}");
        }
    }
}
