import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.waiters.WaiterOverrideConfiguration;
import software.amazon.awssdk.retries.api.BackoffStrategy;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.GetRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.GetShardIteratorRequest;
import software.amazon.awssdk.services.kinesis.model.InvalidArgumentException;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.services.kinesis.model.LimitExceededException;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.PutRecordsResultEntry;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ResourceInUseException;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardFilterType;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;
import software.amazon.awssdk.services.kinesis.model.ValidationException;
import software.amazon.awssdk.services.kinesis.waiters.KinesisWaiter;

/** The ten operations, iterators, paging and errors, through one client. */
final class Checks {
    private static final int BATCH = 500;
    private static final int SHARDS = 3;

    private final Tap tap;
    private final String by;
    private final KinesisClient kinesis;
    private final String name;
    private List<Shard> shards;
    private String arn;
    private String first;
    private String firstHash;
    private String tail;
    private List<String> numbers;
    private Instant put;

    Checks(Tap tap, String by, KinesisClient kinesis) {
        this.tap = tap;
        this.by = by;
        this.kinesis = kinesis;
        this.name = "java-" + System.nanoTime();
    }

    void run() {
        streams();
        puts();
        reads();
        errors();
        deletion();
    }

    private void check(String what, Tap.Body body) {
        tap.check(by + ": " + what, body);
    }

    private void streams() {
        check("CreateStream makes the stream, and the waiter sees it ACTIVE", () -> {
            var before = Instant.now();
            kinesis.createStream(r -> r.streamName(name).shardCount(SHARDS));
            await().waitUntilStreamExists(r -> r.streamName(name));
            var found = kinesis.describeStream(r -> r.streamName(name)).streamDescription();
            Tap.same(StreamStatus.ACTIVE, found.streamStatus());
            Tap.same(24, found.retentionPeriodHours());
            var created = found.streamCreationTimestamp();
            var apart = Duration.between(before, created).abs();
            Tap.that(apart.compareTo(Duration.ofSeconds(30)) < 0, "made at " + created);
            shards = found.shards();
            arn = found.streamARN();
            first = shards.get(0).shardId();
            firstHash = shards.get(0).hashKeyRange().startingHashKey();
        });
        check("DescribeStream lists shards that cover every hash key once", () -> {
            var begin = BigInteger.ZERO;
            for (var shard : shards) {
                Tap.same(begin, new BigInteger(shard.hashKeyRange().startingHashKey()));
                begin = new BigInteger(shard.hashKeyRange().endingHashKey()).add(BigInteger.ONE);
            }
            Tap.same(BigInteger.ONE.shiftLeft(128), begin);
        });
        check("DescribeStreamSummary counts the open shards, by name, ARN or both", () -> {
            for (var target : List.of(List.of(name, ""), List.of("", arn), List.of(name, arn))) {
                var answer = kinesis.describeStreamSummary(r -> r
                    .streamName(target.get(0).isEmpty() ? null : name)
                    .streamARN(target.get(1).isEmpty() ? null : arn));
                var summary = answer.streamDescriptionSummary();
                Tap.same(SHARDS, summary.openShardCount());
                Tap.same(name, summary.streamName());
            }
        });
        check("the ListStreams paginator finds every stream", () -> {
            kinesis.createStream(r -> r.streamName(name + "-b").shardCount(1));
            var pages = kinesis.listStreamsPaginator(r -> r.limit(1));
            var seen = pages.stream().flatMap(page -> page.streamNames().stream()).toList();
            Tap.that(seen.containsAll(List.of(name, name + "-b")), seen);
        });
        check("ListShards pages by token, and takes a filter", () -> {
            var page = kinesis.listShards(r -> r.streamName(name).maxResults(2));
            var rest = kinesis.listShards(r -> r.nextToken(page.nextToken()));
            var all = new ArrayList<>(page.shards());
            all.addAll(rest.shards());
            Tap.same(shards, all);
            Tap.that(page.shards().size() == 2 && rest.nextToken() == null, page);
            var after = kinesis.listShards(r -> r.streamName(name)
                .shardFilter(f -> f.type(ShardFilterType.AT_LATEST)));
            Tap.same(shards, after.shards());
        });
    }

    private void puts() {
        check("PutRecord routes by the MD5 of the key, and by ExplicitHashKey", () -> {
            var digest = MessageDigest.getInstance("MD5").digest("N14228".getBytes(StandardCharsets.UTF_8));
            var hash = new BigInteger(1, digest);
            var owner = shards.stream().filter(shard -> covers(shard, hash)).findFirst().orElseThrow();
            var answer = kinesis.putRecord(r -> r.streamName(name).data(bytes("a")).partitionKey("N14228"));
            Tap.same(owner.shardId(), answer.shardId());
            for (var shard : shards) {
                var key = shard.hashKeyRange().endingHashKey();
                answer = kinesis.putRecord(r -> r.streamARN(arn).data(bytes("b")).partitionKey("é")
                    .explicitHashKey(key));
                Tap.same(shard.shardId(), answer.shardId());
            }
        });
        check("PutRecords answers entry by entry, in order", () -> {
            tail = iterator(first, ShardIteratorType.LATEST, r -> r);
            var entries = IntStream.range(0, BATCH).mapToObj(index -> PutRecordsRequestEntry.builder()
                .data(bytes("" + index)).partitionKey("k" + index).explicitHashKey(firstHash).build()).toList();
            put = Instant.now();
            var answer = kinesis.putRecords(r -> r.streamName(name).records(entries));
            Tap.same(0, answer.failedRecordCount());
            numbers = answer.records().stream().map(PutRecordsResultEntry::sequenceNumber).toList();
            Tap.same(BATCH, numbers.size());
            for (var index = 1; index < BATCH; index++) {
                var order = new BigInteger(numbers.get(index - 1)).compareTo(new BigInteger(numbers.get(index)));
                Tap.that(order < 0, numbers.get(index));
            }
        });
    }

    private void reads() {
        check("GetRecords pages by Limit, in order, down to MillisBehindLatest 0", () -> {
            var back = new ArrayList<Record>();
            var position = tail;
            GetRecordsResponse answer;
            do {
                answer = read(position, 64);
                Tap.that(answer.records().size() <= 64, answer.records().size());
                back.addAll(answer.records());
                position = answer.nextShardIterator();
            } while (answer.millisBehindLatest() > 0 || !answer.records().isEmpty());
            Tap.same(numbers, back.stream().map(Record::sequenceNumber).toList());
            for (var index = 0; index < BATCH; index++) {
                Tap.same("" + index, back.get(index).data().asUtf8String());
                Tap.same("k" + index, back.get(index).partitionKey());
            }
        });
        check("times are of now, to the millisecond", () -> {
            var position = iterator(first, ShardIteratorType.AT_SEQUENCE_NUMBER,
                r -> r.startingSequenceNumber(numbers.get(0)));
            var arrived = read(position, 1).records().get(0).approximateArrivalTimestamp();
            Tap.that(Duration.between(put, arrived).abs().compareTo(Duration.ofSeconds(30)) < 0, arrived);
            position = iterator(first, ShardIteratorType.AT_TIMESTAMP, r -> r.timestamp(arrived));
            var found = read(position, 1).records().get(0).approximateArrivalTimestamp();
            Tap.same(arrived, found);
            position = iterator(first, ShardIteratorType.AT_TIMESTAMP, r -> r.timestamp(arrived.plusMillis(1)));
            var later = read(position, 1).records();
            Tap.that(later.isEmpty() || later.get(0).approximateArrivalTimestamp().isAfter(arrived), later);
        });
        check("the other four iterator types", () -> {
            var number = numbers.get(7);
            var at = iterator(first, ShardIteratorType.AT_SEQUENCE_NUMBER, r -> r.startingSequenceNumber(number));
            Tap.same(number, read(at, 1).records().get(0).sequenceNumber());
            var after = iterator(first, ShardIteratorType.AFTER_SEQUENCE_NUMBER,
                r -> r.startingSequenceNumber(number));
            Tap.same(numbers.get(8), read(after, 1).records().get(0).sequenceNumber());
            var oldest = iterator(first, ShardIteratorType.TRIM_HORIZON, r -> r);
            var order = new BigInteger(read(oldest, 1).records().get(0).sequenceNumber());
            Tap.that(order.compareTo(new BigInteger(numbers.get(0))) <= 0, order);
            var latest = iterator(first, ShardIteratorType.LATEST, r -> r);
            Tap.same(0, read(latest, 10).records().size());
        });
        check("1 MiB comes back byte for byte", () -> {
            var position = iterator(first, ShardIteratorType.LATEST, r -> r);
            var data = new byte[1024 * 1024 - 1];
            for (var index = 0; index < data.length; index++) {
                data[index] = (byte) (index % 251);
            }
            kinesis.putRecord(r -> r.streamName(name).data(SdkBytes.fromByteArray(data)).partitionKey("k")
                .explicitHashKey(firstHash));
            var found = read(position, 10).records().get(0).data().asByteArrayUnsafe();
            Tap.that(java.util.Arrays.equals(data, found), found.length);
        });
        check("no data at all comes back as it is", () -> {
            var position = iterator(first, ShardIteratorType.LATEST, r -> r);
            kinesis.putRecord(r -> r.streamName(name).data(SdkBytes.fromByteArray(new byte[0])).partitionKey("k")
                .explicitHashKey(firstHash));
            Tap.same(0, read(position, 10).records().get(0).data().asByteArrayUnsafe().length);
        });
    }

    private void errors() {
        check("errors are instances of their classes", () -> {
            refused(ResourceInUseException.class, name,
                () -> kinesis.createStream(r -> r.streamName(name).shardCount(1)));
            refused(ResourceNotFoundException.class, "not found",
                () -> kinesis.describeStream(r -> r.streamName(name + "-gone")));
            refused(ResourceNotFoundException.class, "not found",
                () -> kinesis.putRecord(r -> r.streamName(name + "-gone").data(bytes("x")).partitionKey("k")));
            refused(InvalidArgumentException.class, "", () -> read("A".repeat(64), 1));
            refused(InvalidArgumentException.class, "", () -> iterator(first,
                ShardIteratorType.AT_SEQUENCE_NUMBER, r -> r.startingSequenceNumber("123")));
            refused(LimitExceededException.class, "",
                () -> kinesis.createStream(r -> r.streamName(name + "-huge").shardCount(Integer.MAX_VALUE)));
            refused(ValidationException.class, "less than or equal to 10000", () -> read(tail, 10_001));
            refused(ValidationException.class, "greater than or equal to 1",
                () -> kinesis.putRecord(r -> r.streamName(name).data(bytes("x")).partitionKey("")));
        });
    }

    private void deletion() {
        check("DeleteStream removes the stream", () -> {
            for (var each : List.of(name, name + "-b")) {
                kinesis.deleteStream(r -> r.streamName(each));
                await().waitUntilStreamNotExists(r -> r.streamName(each));
            }
            refused(ResourceNotFoundException.class, "not found",
                () -> kinesis.describeStream(r -> r.streamName(name)));
        });
    }

    private <E extends KinesisException> void refused(Class<E> kind, String text, Supplier<?> call) {
        try {
            call.get();
        } catch (KinesisException error) {
            Tap.that(kind.isInstance(error), error);
            Tap.that(error.awsErrorDetails().errorMessage().contains(text), error);
            Tap.same(400, error.statusCode());
            Tap.that(!error.requestId().isEmpty(), error);
            return;
        }
        throw new AssertionError(kind.getSimpleName() + " was expected");
    }

    private KinesisWaiter await() {
        var often = WaiterOverrideConfiguration.builder().waitTimeout(Duration.ofSeconds(20)).maxAttempts(200)
            .backoffStrategyV2(BackoffStrategy.fixedDelayWithoutJitter(Duration.ofMillis(100))).build();
        return KinesisWaiter.builder().client(kinesis).overrideConfiguration(often).build();
    }

    private String iterator(String shard, ShardIteratorType kind,
            java.util.function.UnaryOperator<GetShardIteratorRequest.Builder> where) {
        var request = GetShardIteratorRequest.builder().streamName(name).shardId(shard).shardIteratorType(kind);
        return kinesis.getShardIterator(where.apply(request).build()).shardIterator();
    }

    private GetRecordsResponse read(String iterator, int limit) {
        return kinesis.getRecords(r -> r.shardIterator(iterator).limit(limit));
    }

    private static boolean covers(Shard shard, BigInteger hash) {
        var range = shard.hashKeyRange();
        return new BigInteger(range.startingHashKey()).compareTo(hash) <= 0
            && hash.compareTo(new BigInteger(range.endingHashKey())) <= 0;
    }

    private static SdkBytes bytes(String text) {
        return SdkBytes.fromUtf8String(text);
    }
}
