//! `docs/reference/kinesis-api.md` is made from the service model and from what is implemented;
//! this test fails when it is not current.

use std::fmt::Write as _;
use std::path::PathBuf;

use millstream_protocol::kinesis::Operation;
use millstream_protocol::model::MODEL;

/// Every operation of the model by group, in the order of AWS's guide.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Streams",
        &[
            "CreateStream",
            "DeleteStream",
            "DescribeStream",
            "DescribeStreamSummary",
            "ListStreams",
            "UpdateStreamMode",
            "UpdateMaxRecordSize",
            "UpdateStreamWarmThroughput",
            "UpdateStreamRecordDistributionStrategy",
            "IncreaseStreamRetentionPeriod",
            "DecreaseStreamRetentionPeriod",
        ],
    ),
    (
        "Shards",
        &[
            "ListShards",
            "SplitShard",
            "MergeShards",
            "UpdateShardCount",
        ],
    ),
    (
        "Records",
        &["PutRecord", "PutRecords", "GetShardIterator", "GetRecords"],
    ),
    (
        "Enhanced fan-out",
        &[
            "RegisterStreamConsumer",
            "DeregisterStreamConsumer",
            "DescribeStreamConsumer",
            "ListStreamConsumers",
            "SubscribeToShard",
        ],
    ),
    (
        "Queues",
        &[
            "CreateQueue",
            "DeleteQueue",
            "DescribeQueue",
            "ListQueues",
            "UpdateQueue",
            "ReceiveQueueRecords",
            "AcknowledgeQueueRecords",
            "UpdateQueueRecordsVisibility",
            "ReceiveDeadLetterQueueRecords",
            "AcknowledgeDeadLetterQueueRecords",
            "UpdateDeadLetterQueueRecordsVisibility",
            "RestoreDeadLetterQueueRecords",
        ],
    ),
    (
        "Channels",
        &[
            "CreateChannel",
            "DeleteChannel",
            "DescribeChannel",
            "ListChannels",
            "UpdateChannel",
        ],
    ),
    (
        "Tags",
        &[
            "AddTagsToStream",
            "RemoveTagsFromStream",
            "ListTagsForStream",
            "TagResource",
            "UntagResource",
            "ListTagsForResource",
        ],
    ),
    (
        "Policies",
        &[
            "PutResourcePolicy",
            "GetResourcePolicy",
            "DeleteResourcePolicy",
        ],
    ),
    (
        "Encryption and monitoring",
        &[
            "StartStreamEncryption",
            "StopStreamEncryption",
            "EnableEnhancedMonitoring",
            "DisableEnhancedMonitoring",
        ],
    ),
    (
        "Account",
        &[
            "DescribeLimits",
            "DescribeAccountSettings",
            "UpdateAccountSettings",
        ],
    ),
];

fn table() -> String {
    let mut out = String::from(
        "# Kinesis API\n\n\
         <!-- Made from data-plane/protocol/model/kinesis.json by\n     \
         UPDATE=1 cargo test -p millstream-protocol --test it coverage\n     \
         Do not edit by hand. -->\n\n",
    );
    let source = &MODEL.source;
    writeln!(
        out,
        "Operations of `{}` in the service model of {} {}: {} of {} are implemented. The others \
         answer `UnknownOperationException`.\n\nErrors are those that the model lists for the \
         operation; those of the wire (`SerializationException`, `UnknownOperationException`, \
         `ValidationException`, `InternalFailure`) come on top.\n",
        source.target_prefix,
        source.package,
        source.version,
        Operation::ALL.len(),
        MODEL.operations.len(),
    )
    .expect("a String takes all");
    for (group, names) in GROUPS {
        writeln!(
            out,
            "## {group}\n\n| operation | implemented | since | errors |\n|---|---|---|---|"
        )
        .expect("a String takes all");
        for name in *names {
            let implemented = Operation::parse(name);
            let errors = MODEL.operations[*name].errors.iter();
            let errors: Vec<_> = errors.map(|e| e.trim_end_matches("Exception")).collect();
            let (yes, since) = match implemented {
                Some(operation) => ("yes", operation.since()),
                None => ("no", ""),
            };
            writeln!(out, "| {name} | {yes} | {since} | {} |", errors.join(", "))
                .expect("a String takes all");
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[test]
fn every_operation_of_the_model_has_one_group() {
    let mut grouped: Vec<_> = GROUPS
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    grouped.sort_unstable();
    let all: Vec<_> = MODEL.operations.keys().map(String::as_str).collect();
    assert_eq!(grouped, all);
}

#[test]
fn the_coverage_table_is_current() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/kinesis-api.md");
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &table).expect("the folder docs/reference is there");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == table,
        "docs/reference/kinesis-api.md is not current: run \
         UPDATE=1 cargo test -p millstream-protocol --test it coverage"
    );
}
