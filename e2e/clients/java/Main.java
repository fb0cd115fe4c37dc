import java.net.URI;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.ProtocolNegotiation;

/**
 * The AWS SDK for Java 2 against a server: the blocking client or the asynchronous one, as the
 * argument says, in CBOR, which is what it speaks to Kinesis by itself, and in JSON. The server
 * comes from the environment (AWS_ENDPOINT_URL and friends).
 */
final class Main {
    private static final String CBOR = "application/x-amz-cbor-1.1";
    private static final String JSON = "application/x-amz-json-1.1";

    private static final Tap TAP = new Tap();

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        for (var type : new String[] {CBOR, JSON}) {
            if (type.equals(JSON)) {
                System.setProperty("aws.cborEnabled", "false");
            }
            var word = type.equals(CBOR) ? "CBOR" : "JSON";
            if (arguments[0].equals("async")) {
                async(word, type);
            } else {
                blocking(word, type);
            }
        }
        System.clearProperty("aws.cborEnabled");
        if (arguments[0].equals("async") && System.getenv("AWS_ENDPOINT_URL").startsWith("https:")) {
            alpn();
        }
        System.exit(TAP.finish());
    }

    private static void blocking(String word, String type) throws Exception {
        var wire = new Wire();
        try (var client = Clients.blocking(wire)) {
            var by = "blocking, " + word;
            new Checks(TAP, by, client).run();
            spoken(by, type, wire);
        }
    }

    private static void async(String word, String type) throws Exception {
        var wire = new Wire();
        try (var client = Clients.async(wire, null, null)) {
            var by = "async, " + word;
            new Checks(TAP, by, Clients.waiting(client)).run();
            TAP.check(by + ": sixteen requests in flight", () -> {
                var name = "java-flight-" + System.nanoTime();
                client.createStream(r -> r.streamName(name).shardCount(1)).join();
                client.waiter().waitUntilStreamExists(r -> r.streamName(name), o -> o.backoffStrategyV2(
                    software.amazon.awssdk.retries.api.BackoffStrategy.fixedDelayWithoutJitter(
                        java.time.Duration.ofMillis(100)))).join();
                var puts = IntStream.range(0, 16).mapToObj(index -> client.putRecord(r -> r.streamName(name)
                    .partitionKey("k" + index).data(SdkBytes.fromUtf8String("" + index)))).toList();
                var numbers = puts.stream().map(CompletableFuture::join).map(it -> it.sequenceNumber()).distinct();
                Tap.same(16L, numbers.count());
                client.deleteStream(r -> r.streamName(name)).join();
            });
            spoken(by, type, wire);
        }
    }

    /** What the SDK sent and the server answered really was of one type, with a signed body. */
    private static void spoken(String by, String type, Wire wire) {
        TAP.check(by + ": every request and answer is " + type + ", signed whole", () -> {
            Tap.same(Set.of(type), wire.requestTypes);
            Tap.same(Set.of(type), wire.answerTypes);
            Tap.same(Set.of("none"), wire.encodings);
            Tap.same(Set.of("hash"), wire.bodyHashes);
        });
    }

    /** HTTP/2 over TLS: with no ALPN, as the client has it by itself, and with ALPN when told to. */
    private static void alpn() {
        for (var negotiation : new ProtocolNegotiation[] {null, ProtocolNegotiation.ALPN}) {
            var offers = negotiation != null;
            TAP.check("TLS: " + (offers ? "ALPN where the client is told to" : "HTTP/2 without ALPN"), () -> {
                var server = URI.create(System.getenv("AWS_ENDPOINT_URL"));
                try (var relay = new Wire.Relay(server);
                        var client = Clients.async(new Wire(), relay.endpoint(), negotiation)) {
                    client.listStreams().join();
                    Tap.same(offers, Wire.offersAlpn(relay.first()));
                }
            });
        }
    }
}
