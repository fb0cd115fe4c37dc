// The JavaScript SDK v3 against a server, over its default handler, which speaks HTTP/2: the ten
// operations, iterators, paging, and errors as its classes. Retries are off.
//
// The server comes from the environment; NODE_MODULES_AT names the folder that holds node_modules.

import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { strict as assert } from "node:assert";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(`${process.env.NODE_MODULES_AT}/`);
const sdk = require("@aws-sdk/client-kinesis");

const BATCH = 500;
const HASH_KEYS = 1n << 128n;

const client = new sdk.KinesisClient({
  endpoint: process.env.AWS_ENDPOINT_URL,
  region: process.env.AWS_REGION,
  credentials: {
    accessKeyId: process.env.AWS_ACCESS_KEY_ID,
    secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
  },
  maxAttempts: 1,
});

const name = `javascript-${process.hrtime.bigint()}`;
const send = (command, input) => client.send(new sdk[`${command}Command`](input));
let count = 0;
let failed = 0;

async function check(what, body) {
  count += 1;
  try {
    await body();
    console.log(`ok ${count} - ${what}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${count} - ${what}`);
    console.log(String(error.stack).replace(/^/gm, "  # "));
  }
}

async function refused(kind, text, command, input) {
  await assert.rejects(send(command, input), (error) => {
    assert.ok(error instanceof kind, `${error.name}, not ${kind.name}: ${error.message}`);
    assert.ok(error.message.includes(text), error.message);
    assert.equal(error.$metadata.httpStatusCode, 400);
    assert.ok(error.$metadata.requestId);
    return true;
  });
}

const iterator = async (ShardId, ShardIteratorType, where = {}) =>
  (await send("GetShardIterator", { StreamName: name, ShardId, ShardIteratorType, ...where }))
    .ShardIterator;
const read = (ShardIterator, Limit = 10000) => send("GetRecords", { ShardIterator, Limit });
const bytes = (text) => new TextEncoder().encode(text);
const text = (record) => new TextDecoder().decode(record.Data);

let shards, arn, first, firstHash, numbers, tail;

await check("CreateStream makes the stream, and it becomes ACTIVE", async () => {
  await send("CreateStream", { StreamName: name, ShardCount: 3 });
  await sdk.waitUntilStreamExists(
    { client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 },
    { StreamName: name },
  );
  const { StreamDescription } = await send("DescribeStream", { StreamName: name });
  assert.equal(StreamDescription.StreamStatus, "ACTIVE");
  shards = StreamDescription.Shards;
  arn = StreamDescription.StreamARN;
  first = shards[0].ShardId;
  firstHash = shards[0].HashKeyRange.StartingHashKey;
});

await check("DescribeStream lists shards that cover every hash key once", async () => {
  let begin = 0n;
  for (const { HashKeyRange } of shards) {
    assert.equal(BigInt(HashKeyRange.StartingHashKey), begin);
    begin = BigInt(HashKeyRange.EndingHashKey) + 1n;
  }
  assert.equal(begin, HASH_KEYS);
});

await check("DescribeStreamSummary counts the open shards, by name, ARN or both", async () => {
  for (const target of [{ StreamName: name }, { StreamARN: arn }, { StreamName: name, StreamARN: arn }]) {
    const { StreamDescriptionSummary } = await send("DescribeStreamSummary", target);
    assert.equal(StreamDescriptionSummary.OpenShardCount, 3);
  }
});

await check("the ListStreams paginator finds every stream", async () => {
  await send("CreateStream", { StreamName: `${name}-b`, ShardCount: 1 });
  const seen = [];
  for await (const page of sdk.paginateListStreams({ client, pageSize: 1 }, {})) {
    assert.ok(page.StreamNames.length <= 1);
    seen.push(...page.StreamNames);
  }
  assert.ok(seen.includes(name) && seen.includes(`${name}-b`), String(seen));
});

await check("ListShards pages by token", async () => {
  const page = await send("ListShards", { StreamName: name, MaxResults: 2 });
  const rest = await send("ListShards", { NextToken: page.NextToken });
  const ids = [...page.Shards, ...rest.Shards].map((shard) => shard.ShardId);
  assert.deepEqual(ids, shards.map((shard) => shard.ShardId));
  assert.equal(rest.NextToken, undefined);
});

await check("PutRecord routes by the MD5 of the key, and by ExplicitHashKey", async () => {
  const digest = BigInt(`0x${createHash("md5").update("N14228").digest("hex")}`);
  const owner = shards.find(
    ({ HashKeyRange: range }) =>
      BigInt(range.StartingHashKey) <= digest && digest <= BigInt(range.EndingHashKey),
  );
  const put = await send("PutRecord", { StreamName: name, Data: bytes("a"), PartitionKey: "N14228" });
  assert.equal(put.ShardId, owner.ShardId);
  for (const shard of shards) {
    const ExplicitHashKey = shard.HashKeyRange.EndingHashKey;
    const input = { StreamARN: arn, Data: bytes("b"), PartitionKey: "k", ExplicitHashKey };
    assert.equal((await send("PutRecord", input)).ShardId, shard.ShardId);
  }
});

await check("PutRecords answers entry by entry, in order", async () => {
  tail = await iterator(first, "LATEST");
  const Records = Array.from({ length: BATCH }, (_, index) => ({
    Data: bytes(`${index}`),
    PartitionKey: `k${index}`,
    ExplicitHashKey: firstHash,
  }));
  const answer = await send("PutRecords", { StreamName: name, Records });
  assert.equal(answer.FailedRecordCount, 0);
  numbers = answer.Records.map((record) => record.SequenceNumber);
  assert.equal(numbers.length, BATCH);
  numbers.reduce((last, next) => (assert.ok(BigInt(next) > BigInt(last)), next));
});

await check("sixteen requests in flight share one connection", async () => {
  const puts = Array.from({ length: 16 }, (_, index) =>
    send("PutRecord", { StreamName: name, Data: bytes(`p${index}`), PartitionKey: `p${index}` }));
  const answers = await Promise.all(puts);
  assert.equal(new Set(answers.map((answer) => answer.ShardId + answer.SequenceNumber)).size, 16);
});

await check("GetRecords pages by Limit, in order, down to MillisBehindLatest 0", async () => {
  await sleep(1200);
  const back = [];
  let position = tail;
  for (let page = 0; page < 1000; page += 1) {
    const answer = await read(position, 64);
    assert.ok(answer.Records.length <= 64);
    if (page === 0) assert.ok(answer.MillisBehindLatest >= 1000, `${answer.MillisBehindLatest}`);
    back.push(...answer.Records);
    position = answer.NextShardIterator;
    if (answer.MillisBehindLatest === 0) break;
  }
  const ours = back.filter((record) => !text(record).startsWith("p"));
  assert.deepEqual(ours.map((record) => record.SequenceNumber), numbers);
  assert.deepEqual(ours.map(text), numbers.map((_, index) => `${index}`));
});

await check("1 MiB comes back byte for byte", async () => {
  const position = await iterator(first, "LATEST");
  const Data = new Uint8Array(1024 * 1024 - 1).map((_, index) => index % 251);
  await send("PutRecord", { StreamName: name, Data, PartitionKey: "k", ExplicitHashKey: firstHash });
  const { Records } = await read(position);
  assert.equal(Buffer.compare(Records[0].Data, Data), 0);
});

await check("the five iterator types", async () => {
  const StartingSequenceNumber = numbers[7];
  const at = await read(await iterator(first, "AT_SEQUENCE_NUMBER", { StartingSequenceNumber }), 1);
  const after = await read(await iterator(first, "AFTER_SEQUENCE_NUMBER", { StartingSequenceNumber }), 1);
  const oldest = await read(await iterator(first, "TRIM_HORIZON"), 1);
  const latest = await read(await iterator(first, "LATEST"));
  assert.equal(at.Records[0].SequenceNumber, numbers[7]);
  assert.equal(after.Records[0].SequenceNumber, numbers[8]);
  assert.ok(BigInt(oldest.Records[0].SequenceNumber) <= BigInt(numbers[0]));
  assert.equal(latest.Records.length, 0);
  const Timestamp = at.Records[0].ApproximateArrivalTimestamp;
  const timed = await read(await iterator(first, "AT_TIMESTAMP", { Timestamp }), 1);
  assert.ok(timed.Records[0].ApproximateArrivalTimestamp >= Timestamp);
  assert.ok(BigInt(timed.Records[0].SequenceNumber) <= BigInt(numbers[7]));
});

await check("errors are instances of their classes", async () => {
  await refused(sdk.ResourceInUseException, name, "CreateStream", { StreamName: name, ShardCount: 1 });
  await refused(sdk.ResourceNotFoundException, "not found", "DescribeStream", { StreamName: `${name}-gone` });
  await refused(sdk.InvalidArgumentException, "", "GetRecords", { ShardIterator: "A".repeat(64) });
  await refused(sdk.LimitExceededException, "", "CreateStream", { StreamName: `${name}-huge`, ShardCount: 100000000000 });
  await refused(sdk.ValidationException, "less than or equal to 10000", "GetRecords", { ShardIterator: tail, Limit: 10001 });
  await refused(sdk.ValidationException, "greater than or equal to 1", "PutRecord", { StreamName: name, Data: bytes("x"), PartitionKey: "" });
});

await check("DeleteStream removes the stream", async () => {
  await send("DeleteStream", { StreamName: name });
  await send("DeleteStream", { StreamName: `${name}-b` });
  await sdk.waitUntilStreamNotExists(
    { client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 },
    { StreamName: name },
  );
  await refused(sdk.ResourceNotFoundException, "not found", "DescribeStream", { StreamName: name });
});

client.destroy();
console.log(`1..${count}`);
process.exitCode = failed ? 1 : 0;
