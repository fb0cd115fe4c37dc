//! The operations that this server implements, by AWS's names.

/// An operation of Kinesis Data Streams that is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are AWS's and say it")]
pub enum Operation {
    CreateStream,
    DeleteStream,
    DescribeStream,
    DescribeStreamSummary,
    GetRecords,
    GetShardIterator,
    ListShards,
    ListStreams,
    PutRecord,
    PutRecords,
}

impl Operation {
    /// All of them, by name.
    pub const ALL: [Self; 10] = [
        Self::CreateStream,
        Self::DeleteStream,
        Self::DescribeStream,
        Self::DescribeStreamSummary,
        Self::GetRecords,
        Self::GetShardIterator,
        Self::ListShards,
        Self::ListStreams,
        Self::PutRecord,
        Self::PutRecords,
    ];

    /// AWS's name, as it stands in the target header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateStream => "CreateStream",
            Self::DeleteStream => "DeleteStream",
            Self::DescribeStream => "DescribeStream",
            Self::DescribeStreamSummary => "DescribeStreamSummary",
            Self::GetRecords => "GetRecords",
            Self::GetShardIterator => "GetShardIterator",
            Self::ListShards => "ListShards",
            Self::ListStreams => "ListStreams",
            Self::PutRecord => "PutRecord",
            Self::PutRecords => "PutRecords",
        }
    }

    /// The operation of that name. Names are case-sensitive, as on AWS.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// The release in which the operation appeared; shown in the coverage table.
    #[must_use]
    pub const fn since(self) -> &'static str {
        "0.1.0"
    }
}
